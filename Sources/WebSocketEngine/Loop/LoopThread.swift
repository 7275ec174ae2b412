// Starts the thread that runs the loop: a thread of Dispatch, as the one work item of a serial queue "websocket". Called by
// Engine on the Lua thread of the first connect.

import CLinux
import Dispatch

enum LoopThread {
    /// Runs `body` on the loop's thread. Throws the error of pthread_create when the system allows no more threads.
    static func start(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let work: @Sendable () -> Void = {
            // Dispatch leaves a few signals open. All must go to the host's threads: a signal interrupts a script's wait.
            let mask = SignalMask.blockAll()
            ws_name_thread("websocket")
            body()
            mask.restore()
        }
        if Fork.isChild { try startThread { Fork.whileAllowed(work) } } else { try startOnDispatch(work) }
    }

    /// Not in a forked child: Dispatch would wait for a worker thread that was idle at the fork, and only the parent has it.
    ///
    /// When the system refuses a thread, Dispatch tries again each second, without an end, on the thread that submits. So
    /// a thread made here submits, and only if the system allows two threads at the same time: itself and Dispatch's.
    /// Should Dispatch be refused in spite of that, the submitting thread waits until it gets its thread. Until then the
    /// loop runs while scripts wait in `poll`, and nobody waits for the loop's thread without a limit.
    private static func startOnDispatch(_ work: @escaping @Sendable () -> Void) throws(SystemError) {
        // A serial queue has a thread to itself, however busy the global queues are. Queues that a host creates have the
        // default quality of service, and the number of threads is limited for each.
        let queue = DispatchQueue(label: "websocket", qos: .userInteractive)
        let areBothAllowed = DispatchSemaphore(value: 0)
        let placeholder = try Thread { Fork.whileAllowed { areBothAllowed.wait() } }
        defer { areBothAllowed.signal() }
        do throws(SystemError) {
            try startThread {
                Fork.whileAllowed {
                    placeholder.join()
                    queue.async(execute: work)
                }
            }
        } catch {
            placeholder.detach()
            throw error
        }
    }
}
