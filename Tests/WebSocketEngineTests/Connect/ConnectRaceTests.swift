import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct ConnectRaceTests {
    @Test func tokensOfASlotAreNeverTheSame() throws {
        // A look-up's answer could reach the next owner of the slot, which then connected to another's address.
        var poller = try Poller()
        let first = poller.token(slot: 3)
        let second = poller.token(slot: 3)
        #expect(first != second)
        #expect(Poller.slot(of: first) == 3)
        #expect(Poller.slot(of: second) == 3)
    }
}
