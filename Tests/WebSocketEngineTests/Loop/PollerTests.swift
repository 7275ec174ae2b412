import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite final class PollerTests {
    private var poller: Poller
    /// Two connected sockets.
    private let ours: FileDescriptor
    private let peer: FileDescriptor

    init() throws {
        let sockets = try makeSocketPair()
        ours = FileDescriptor(sockets.0)
        peer = FileDescriptor(sockets.1)
        poller = try Poller()
    }

    private func send() { #expect(write(peer.number, "x", 1) == 1) }

    /// The events that there are at once.
    private func events() -> [Poller.Readiness] {
        let count = poller.wait(until: 0)
        return (0..<max(count, 0)).map { poller.readiness(at: $0) }
    }

    @Test func aTokenHasItsSlotAndIsNeverUsedAgain() {
        let last = 1 << Int(Poller.slotBits) - 1
        let tokens = [0, 5, last, 5, 0].map { poller.token(slot: $0) }
        #expect(tokens.map(Poller.slot) == [0, 5, last, 5, 0])
        #expect(Set(tokens).count == tokens.count)
    }

    @Test func anEdgeIsReportedOnceForEachChange() throws {
        let token = try poller.add(ours, slot: 3, [.read, .edge])
        #expect(events().isEmpty)
        for _ in 0..<2 {
            send()
            let found = events()
            #expect(found.map(\.token) == [token])
            #expect(found.allSatisfy { $0.readable && !$0.writable && !$0.endsOrStops && !$0.isRequestedTurn })
            // The byte is still there.
            #expect(events().isEmpty)
        }
    }

    @Test func aLevelIsReportedAsLongAsItLasts() throws {
        _ = try poller.add(ours, slot: 3, .read)
        send()
        #expect(events().count == 1 && events().count == 1)
    }

    @Test func theEndOfTheStreamIsReportedWithTheBytesBeforeIt() throws {
        _ = try poller.add(ours, slot: 0, [.read, .edge])
        send()
        shutdown(peer.number, Int32(SHUT_WR))
        let found = events()
        #expect(found.count == 1 && found.allSatisfy { $0.readable && $0.endsOrStops })
    }

    @Test func changeAndRemove() throws {
        let token = try poller.add(ours, slot: 0, [.read, .edge])
        poller.change(ours, token, to: [.write, .edge])
        let found = events()
        #expect(found.count == 1 && found.allSatisfy { $0.writable && !$0.readable })
        Poller.remove(ours.number, from: poller.descriptorNumber)
        send()
        #expect(events().isEmpty)
    }

    @Test func aHangUpIsReportedOnceWhereNothingIsAsked() throws {
        let token = try poller.add(ours, slot: 0, [.read, .edge])
        poller.change(ours, token, to: .edge)
        shutdown(peer.number, Int32(SHUT_RDWR))
        let found = events()
        #expect(found.count == 1 && found.allSatisfy { $0.readable && $0.writable })
        #expect(events().isEmpty)
    }

    @Test func aDeadlineEndsTheWaitAndNotBefore() {
        for seconds in [0.02, 0.01, 0.03] {
            let deadline = now() + Nanoseconds(seconds: seconds)
            // A wait may end earlier, without an event, at a deadline that was set before.
            var waits = 0
            while now() < deadline {
                _ = poller.wait(until: deadline)
                poller.noteTime(now())
                waits += 1
            }
            #expect(now() >= deadline && waits <= 2)
        }
    }

    @Test func anEarlierDeadlineReplacesALaterOne() {
        send()
        let token = try? poller.add(ours, slot: 0, .read)
        #expect(token != nil)
        // It sets the timer, and returns at once for the byte.
        let later = now() + Nanoseconds(seconds: 10)
        #expect(poller.wait(until: later) == 1)
        Poller.remove(ours.number, from: poller.descriptorNumber)
        let deadline = now() + Nanoseconds(seconds: 0.01)
        // The timer's event has no session's token.
        #expect(poller.wait(until: deadline) == 1 && poller.readiness(at: 0).token == .max)
        #expect(now() >= deadline && now() < later)
    }

    @Test func aSignalInTheMaskDoesNotEndTheWait() {
        signal(SIGURG) { _ in }
        let before = SignalMask.blockAll()
        defer { before.restore() }
        var mask = sigset_t()
        sigfillset(&mask)
        pthread_kill(pthread_self(), SIGURG)
        #expect(poller.wait(until: now() + Nanoseconds(seconds: 0.01), &mask) == 0)
        sigemptyset(&mask)
        #expect(poller.wait(until: now() + Nanoseconds(seconds: 10), &mask) == -1)
    }

    @Test func withoutItsDescriptorAWaitFails() throws {
        let number = poller.descriptorNumber
        try replaceDescriptor(number)
        defer { close(number) }
        #expect(poller.wait(until: nil) == Poller.waitFailed)
    }
}
