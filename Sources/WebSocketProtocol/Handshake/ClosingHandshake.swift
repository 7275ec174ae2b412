// The closing handshake of one connection (RFC 6455 section 7): a pure state machine. OpenConnection, on the thread
// that runs the loop, calls a method for each thing that happens and performs the action that it returns.
//
//     open ── close ──> closing(queued) ── takeClose ──> closing(buffered) ── bytesLeft ──> closing(left)
//      │                   │                                │                                  │
//      └───────────────────┴──── peerClosed, peerFailed ────┴──────────────────────────────────┘
//                                        │
//                                waitingForScript ── scriptCaughtUp ──> closeReceived or failed ── bytesLeft ──> over
//
// `writeFailed` may come in any state, and `end` ends each of them.

public struct ClosingHandshake: Equatable, Sendable {
    /// Where our Close frame is.
    public enum OurClose: Equatable, Sendable {
        /// There is none yet.
        case none
        /// Behind the messages of the script.
        case queued(CloseFrame)
        /// In the write buffer: no frame may follow it (RFC 6455 5.5.1).
        case buffered
        /// The kernel has all of it.
        case left
        /// Writing has failed: it can't leave.
        case lost
    }

    /// The last thing that counts of what the peer sends.
    public enum PeerEnd: Equatable, Sendable {
        /// The peer's Close. `begins`: it came before ours.
        case close(CloseFrame, begins: Bool)
        /// The peer broke a rule, or a limit was reached (section 7.1.7).
        case failure(ProtocolFailure)
    }

    public enum State: Equatable, Sendable {
        case open
        /// We have begun, and the peer's Close has not come.
        case closing(OurClose)
        /// Writing has failed. What the peer sent before is still read. `begun`: the script has asked for the close.
        case writeFailed(begun: Bool)
        /// The peer's end has come, and the script has not delivered all that came before it.
        case waitingForScript(PeerEnd, OurClose)
        /// The peer's Close has come; ours is still to leave.
        case closeReceived(CloseFrame, begins: Bool, OurClose)
        /// The connection fails; our Close is still to leave.
        case failed(ProtocolFailure, OurClose)
        case over(Result)
    }

    /// How the connection ended.
    public struct Result: Equatable, Sendable {
        /// The peer's Close; 1006 without one (section 7.1.5).
        public var code: CloseCode
        public var reason: String
        /// Why there was no Close of the peer, in words; nil if there was one: `code` is its code then, else 1006.
        public var cause: String?
        /// Both Close frames were exchanged: the kernel has all of ours.
        public var isClean: Bool
        /// The peer began.
        public var isRemote: Bool
        /// Our last frame has left: the socket may be closed once the peer has read it.
        public var isComplete: Bool

        public init(
            _ frame: CloseFrame, isClean: Bool, isRemote: Bool, isComplete: Bool
        ) {
            code = frame.code
            reason = frame.reason
            self.isClean = isClean
            self.isRemote = isRemote
            self.isComplete = isComplete
        }

        /// Without a Close of the peer.
        public init(cause: String, isRemote: Bool, isComplete: Bool = false) {
            code = .abnormal
            reason = ""
            self.cause = cause
            isClean = false
            self.isRemote = isRemote
            self.isComplete = isComplete
        }
    }

    public enum Action: Equatable, Sendable {
        case none
        /// The script can send no more, and our Close follows its messages: write.
        case begin
        /// Our Close was begun before: write.
        case write
        /// `state` has the result.
        case finish
    }

    public private(set) var state = State.open { didSet { isOpen = state == .open } }
    /// Whether the state is open. Stored, because every event of a connection asks, and `state` has many words to compare.
    public private(set) var isOpen = true

    public init() {}

    // MARK: - Questions

    public var isWaitingForScript: Bool {
        if case .waitingForScript = state { return true }
        return false
    }

    public var result: Result? {
        if case .over(let result) = state { return result }
        return nil
    }

    private var ourClose: OurClose {
        switch state {
        case .open, .over: .none
        case .writeFailed: .lost
        case .closing(let ours), .waitingForScript(_, let ours), .closeReceived(_, _, let ours), .failed(_, let ours):
            ours
        }
    }

    /// Whether pings, pongs and messages may still be written.
    public var allowsFrames: Bool {
        switch ourClose {
        case .none, .queued: result == nil
        case .buffered, .left, .lost: false
        }
    }

    /// Whether our Close waits for `takeClose`.
    public var isCloseQueued: Bool {
        if case .queued = ourClose { return true }
        return false
    }

    /// Whether our Close was begun and writing has not failed: the peer is given time as long as bytes leave.
    public var isCloseOnItsWay: Bool {
        if isOpen { return false }
        return switch ourClose {
        case .none, .lost: false
        case .queued, .buffered, .left: true
        }
    }

    /// Whether the peer's Close, or a failure, has come: what follows in the socket does not count.
    public var hasPeerEnded: Bool {
        switch state {
        case .open, .closing, .writeFailed: false
        case .waitingForScript, .closeReceived, .failed, .over: true
        }
    }

    public var isWriteFailed: Bool {
        if isOpen { return false }
        if case .lost = ourClose { return true }
        return false
    }

    // MARK: - Inputs

    /// The script closes the websocket, or keepalive and the like on its behalf.
    public mutating func close(_ frame: CloseFrame) -> Action {
        switch state {
        case .open: state = .closing(.queued(frame))
        case .writeFailed(begun: false): state = .writeFailed(begun: true)
        case .waitingForScript(let end, .none): state = .waitingForScript(end, .queued(frame))
        case .closing, .writeFailed, .waitingForScript, .closeReceived, .failed, .over: return .none
        }
        return .begin
    }

    /// The peer's Close has come. Nothing that follows it counts.
    public mutating func peerClosed(_ frame: CloseFrame) {
        peerEnded(.close(frame, begins: state == .open || state == .writeFailed(begun: false)))
    }

    /// The peer broke a rule. Nothing that follows counts.
    public mutating func peerFailed(_ failure: ProtocolFailure) { peerEnded(.failure(failure)) }

    private mutating func peerEnded(_ end: PeerEnd) {
        if !hasPeerEnded { state = .waitingForScript(end, ourClose) }
    }

    /// The failure that `scriptCaughtUp` will act on: it is the script's to know first.
    public var failure: ProtocolFailure? {
        if case .waitingForScript(.failure(let failure), _) = state { return failure }
        return nil
    }

    /// The script has delivered what came before the peer's end, or has had its time: the peer's Close is answered
    /// (section 5.5.1), or the connection fails (section 7.1.7).
    public mutating func scriptCaughtUp() -> Action {
        guard case .waitingForScript(let end, let ours) = state else { return .none }
        let answer: CloseFrame
        switch end {
        case .close(let frame, let begins):
            // 5.5.1: the answer has the code of the peer's Close.
            answer = CloseFrame(code: frame.code)
            state = .closeReceived(frame, begins: begins, ours == .none ? .queued(answer) : ours)
        case .failure(let failure):
            answer = CloseFrame(code: failure.code)
            state = .failed(failure, ours == .none ? .queued(answer) : ours)
        }
        switch ours {
        case .none: return .begin
        case .queued, .buffered: return .write
        case .left, .lost: return finish()
        }
    }

    /// Our side gives the connection up, whatever the script has still to deliver.
    public mutating func fail(_ failure: ProtocolFailure) -> Action {
        guard !hasPeerEnded else { return .none }
        peerFailed(failure)
        return scriptCaughtUp()
    }

    /// The write buffer is empty, and so is the queue of messages: our Close comes next, if there is one. The caller
    /// puts it into the write buffer.
    public mutating func takeClose() -> CloseFrame? {
        guard case .queued(let frame) = ourClose else { return nil }
        setOurClose(.buffered)
        return frame
    }

    /// The kernel has taken all of the write buffer.
    public mutating func bytesLeft() -> Action {
        if isOpen { return .none }
        guard case .buffered = ourClose else { return .none }
        setOurClose(.left)
        switch state {
        case .closeReceived, .failed: return finish()
        case .open, .closing, .writeFailed, .waitingForScript, .over: return .none
        }
    }

    private mutating func setOurClose(_ ours: OurClose) {
        switch state {
        case .closing: state = .closing(ours)
        case .waitingForScript(let end, _): state = .waitingForScript(end, ours)
        case .closeReceived(let frame, let begins, _): state = .closeReceived(frame, begins: begins, ours)
        case .failed(let failure, _): state = .failed(failure, ours)
        case .open, .writeFailed, .over: break
        }
    }

    /// Nothing leaves any more.
    public mutating func writeFailed() -> Action {
        switch state {
        case .open: state = .writeFailed(begun: false)
        case .closing: state = .writeFailed(begun: true)
        case .waitingForScript(let end, _): state = .waitingForScript(end, .lost)
        case .closeReceived, .failed:
            setOurClose(.lost)
            return finish()
        case .writeFailed, .over: break
        }
        return .none
    }

    /// The connection is over: the socket has ended, or one side's time.
    /// - Parameters:
    ///   - byUs: the end is our decision, where nobody has begun to close.
    ///   - cause: the reason in words, unless there is a Close or an earlier failure.
    public mutating func end(byUs: Bool = false, cause: String) {
        switch state {
        case .open, .writeFailed(begun: false): state = .over(Result(cause: cause, isRemote: !byUs))
        case .closing, .writeFailed(begun: true): state = .over(Result(cause: cause, isRemote: false))
        case .waitingForScript(.close(_, let begins), _): state = .over(Result(cause: cause, isRemote: begins))
        case .waitingForScript(.failure(let failure), _): state = .over(Result(cause: failure.reason, isRemote: false))
        case .closeReceived, .failed, .over: _ = finish()
        }
    }

    private mutating func finish() -> Action {
        switch state {
        case .closeReceived(let frame, let begins, let ours):
            let hasLeft = ours == .left
            state = .over(
                Result(frame, isClean: hasLeft, isRemote: begins, isComplete: hasLeft))
        case .failed(let failure, let ours):
            state = .over(Result(cause: failure.reason, isRemote: false, isComplete: ours == .left))
        case .open, .closing, .writeFailed, .waitingForScript, .over: break
        }
        return .finish
    }
}
