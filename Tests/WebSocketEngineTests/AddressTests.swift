import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct AddressTests {
    private func address(_ host: String) throws -> Address {
        let mailbox = try Mailbox()
        guard case .addresses(let addresses)? = Resolver.resolve(host, 80, 1, mailbox), let first = addresses.first
        else { throw SystemError("not a literal", 0) }
        return first
    }

    @Test(arguments: [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("10.1.2.3", "10.1.2.3:80")])
    func literalsAreResolvedAtOnce(_ host: String, _ description: String) throws {
        #expect(try address(host).description == description)
    }

    @Test(arguments: ["localhost", "shop.localhost"]) func localhostIsThisMachineInBothFamilies(_ host: String) throws {
        guard case .addresses(let addresses)? = Resolver.resolve(host, 80, 1, try Mailbox()) else {
            Issue.record("not resolved at once")
            return
        }
        #expect(addresses.map(\.description) == ["127.0.0.1:80", "[::1]:80"])
    }

    @Test func familiesTakeTurns() throws {
        let four = try ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(address)
        let six = try ["::1"].map(address)
        let order = Resolver.interleaved(six + four).map(\.description)
        #expect(order == ["[::1]:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
        #expect(
            Resolver.interleaved(four + six).map(\.description) == [
                "10.0.0.1:80", "[::1]:80", "10.0.0.2:80", "10.0.0.3:80",
            ])
        #expect(Resolver.interleaved([]).isEmpty)
    }
}
