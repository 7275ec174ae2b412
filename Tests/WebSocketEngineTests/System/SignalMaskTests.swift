import CLinux
import Glibc
import Testing

@testable import WebSocketEngine

@Suite struct SignalMaskTests {
    private func isBlocked(_ signal: Int32) -> Bool {
        var mask = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &mask)
        return sigismember(&mask, signal) == 1
    }

    /// The tests' threads block signals: here they are open, as on a host's thread.
    private func withOpenSignals(_ body: () -> Void) {
        let mask = SignalMask.blockAll()
        var none = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, nil)
        body()
        mask.restore()
    }

    @Test func blockedSignalsAreOpenAgainAfterwards() {
        withOpenSignals {
            let mask = SignalMask.blockAll()
            #expect(isBlocked(SIGUSR1) && isBlocked(SIGPIPE))
            mask.restore()
            #expect(!isBlocked(SIGUSR1) && !isBlocked(SIGPIPE))
        }
    }

    /// By default SIGPIPE ends the process: so the test has its own.
    @Test func aBrokenPipeIsNoSignal() async {
        await #expect(processExitsWith: .success) {
            SignalMaskTests().withOpenSignals {
                var ends: [Int32] = [-1, -1]
                precondition(pipe(&ends) == 0)
                close(ends[0])
                precondition(withoutSIGPIPE { write(ends[1], "x", 1) } == -1 && errno == EPIPE)
                precondition(!SignalMaskTests().isBlocked(SIGPIPE))
            }
        }
    }

    @Test func errnoIsThatOfTheBody() {
        errno = EPIPE
        // No signal came: the wait for one fails with EAGAIN.
        withoutSIGPIPE {}
        #expect(errno == EPIPE)
    }

    @Test func aSIGPIPEThatWasPendingStaysSo() {
        let mask = SignalMask.blockAll()
        defer { mask.restore() }
        pthread_kill(pthread_self(), SIGPIPE)
        withoutSIGPIPE {}
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        var zero = timespec()
        // Taken away, or it ends the process once it is open.
        #expect(sigtimedwait(&pipe, nil, &zero) == SIGPIPE)
    }
}
