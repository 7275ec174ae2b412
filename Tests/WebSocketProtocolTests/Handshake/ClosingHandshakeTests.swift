import Testing

@testable import WebSocketProtocol

@Suite struct ClosingHandshakeTests {
    typealias State = ClosingHandshake.State
    typealias Action = ClosingHandshake.Action
    typealias Result = ClosingHandshake.Result

    enum Input: CaseIterable {
        case close, takeClose, bytesLeft, writeFailed, peerClosed, peerFailed, scriptCaughtUp, fail, end, endByUs
    }

    private static let ours = CloseFrame(code: .goingAway, reason: "ours")
    private static let theirs = CloseFrame(code: .normal, reason: "theirs")
    private static let failure = ProtocolFailure(.protocolError, "a rule")
    private static let limit = ProtocolFailure(.tooBig, "a limit")
    /// The Close that answers the peer's, and those that follow a failure.
    private static let answer = CloseFrame(code: .normal)
    private static let verdict = CloseFrame(code: .protocolError)
    private static let limitVerdict = CloseFrame(code: .tooBig)

    private static func apply(_ input: Input, to closing: inout ClosingHandshake) -> Action {
        switch input {
        case .close: return closing.close(ours)
        case .takeClose:
            _ = closing.takeClose()
            return .none
        case .bytesLeft: return closing.bytesLeft()
        case .writeFailed: return closing.writeFailed()
        case .peerClosed:
            closing.peerClosed(theirs)
            return .none
        case .peerFailed:
            closing.peerFailed(failure)
            return .none
        case .scriptCaughtUp: return closing.scriptCaughtUp()
        case .fail: return closing.fail(limit)
        case .end:
            closing.end(cause: "ended")
            return .none
        case .endByUs:
            closing.end(byUs: true, cause: "ended")
            return .none
        }
    }

    /// A state: the inputs that lead to it, and what each next input makes of it. What is not listed changes nothing,
    /// and asks for no action.
    struct Row: Sendable, CustomTestStringConvertible {
        var state: State
        var path: [Input]
        var next: [Input: (State, Action)]

        var testDescription: String { "\(state)" }
    }

    private static let cut = Result(cause: "ended", isRemote: true)
    private static let given = Result(cause: "ended", isRemote: false)
    private static let broken = State.over(Result(cause: failure.reason, isRemote: false))
    private static let limited = State.over(Result(cause: limit.reason, isRemote: false))

    private static func received(_ isClean: Bool, begins: Bool) -> State {
        .over(Result(theirs, isClean: isClean, isRemote: begins, isComplete: isClean))
    }

    private static func failedCompletely(_ failure: ProtocolFailure) -> State {
        .over(Result(cause: failure.reason, isRemote: false, isComplete: true))
    }

    /// For states in which the peer has not ended, with our Close at `close`.
    private static func peerEnds(
        _ close: ClosingHandshake.OurClose, begins: Bool, limited: (State, Action)
    ) -> [Input: (State, Action)] {
        [
            .fail: limited, .peerClosed: (.waitingForScript(.close(theirs, begins: begins), close), .none),
            .peerFailed: (.waitingForScript(.failure(failure), close), .none),
        ]
    }

    static let rows: [Row] = [
        Row(
            state: .open, path: [],
            next: peerEnds(
                .none, begins: true, limited: (.failed(limit, .queued(limitVerdict)), .begin)
            ).merging([
                .close: (.closing(.queued(ours)), .begin), .writeFailed: (.writeFailed(begun: false), .none),
                .end: (.over(cut), .none), .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .closing(.queued(ours)), path: [.close],
            next: peerEnds(
                .queued(ours), begins: false, limited: (.failed(limit, .queued(ours)), .write)
            ).merging([
                .takeClose: (.closing(.buffered), .none), .writeFailed: (.writeFailed(begun: true), .none),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .closing(.buffered), path: [.close, .takeClose],
            next: peerEnds(
                .buffered, begins: false, limited: (.failed(limit, .buffered), .write)
            ).merging([
                .bytesLeft: (.closing(.left), .none), .writeFailed: (.writeFailed(begun: true), .none),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .closing(.left), path: [.close, .takeClose, .bytesLeft],
            next: peerEnds(
                .left, begins: false, limited: (failedCompletely(limit), .finish)
            ).merging([
                .writeFailed: (.writeFailed(begun: true), .none), .end: (.over(given), .none),
                .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .writeFailed(begun: false), path: [.writeFailed],
            next: peerEnds(
                .lost, begins: true, limited: (limited, .finish)
            ).merging([
                .close: (.writeFailed(begun: true), .begin), .end: (.over(cut), .none),
                .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .writeFailed(begun: true), path: [.close, .writeFailed],
            next: peerEnds(
                .lost, begins: false, limited: (limited, .finish)
            ).merging([.end: (.over(given), .none), .endByUs: (.over(given), .none)]) { $1 }),
        Row(
            state: .waitingForScript(.close(theirs, begins: true), .none), path: [.peerClosed],
            next: [
                .close: (.waitingForScript(.close(theirs, begins: true), .queued(ours)), .begin),
                .writeFailed: (.waitingForScript(.close(theirs, begins: true), .lost), .none),
                .scriptCaughtUp: (.closeReceived(theirs, begins: true, .queued(answer)), .begin),
                .end: (.over(cut), .none), .endByUs: (.over(cut), .none),
            ]),
        Row(
            state: .waitingForScript(.close(theirs, begins: true), .queued(ours)), path: [.peerClosed, .close],
            next: [
                .takeClose: (.waitingForScript(.close(theirs, begins: true), .buffered), .none),
                .writeFailed: (.waitingForScript(.close(theirs, begins: true), .lost), .none),
                .scriptCaughtUp: (.closeReceived(theirs, begins: true, .queued(ours)), .write),
                .end: (.over(cut), .none), .endByUs: (.over(cut), .none),
            ]),
        Row(
            state: .waitingForScript(.close(theirs, begins: false), .buffered),
            path: [.close, .takeClose, .peerClosed],
            next: [
                .bytesLeft: (.waitingForScript(.close(theirs, begins: false), .left), .none),
                .writeFailed: (.waitingForScript(.close(theirs, begins: false), .lost), .none),
                .scriptCaughtUp: (.closeReceived(theirs, begins: false, .buffered), .write),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]),
        Row(
            state: .waitingForScript(.close(theirs, begins: false), .left),
            path: [.close, .takeClose, .bytesLeft, .peerClosed],
            next: [
                .writeFailed: (.waitingForScript(.close(theirs, begins: false), .lost), .none),
                .scriptCaughtUp: (received(true, begins: false), .finish),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]),
        Row(
            state: .waitingForScript(.close(theirs, begins: true), .lost), path: [.peerClosed, .writeFailed],
            next: [
                .scriptCaughtUp: (received(false, begins: true), .finish), .end: (.over(cut), .none),
                .endByUs: (.over(cut), .none),
            ]),
        Row(
            state: .waitingForScript(.failure(failure), .none), path: [.peerFailed],
            next: [
                .close: (.waitingForScript(.failure(failure), .queued(ours)), .begin),
                .writeFailed: (.waitingForScript(.failure(failure), .lost), .none),
                .scriptCaughtUp: (.failed(failure, .queued(verdict)), .begin),
                .end: (broken, .none), .endByUs: (broken, .none),
            ]),
        Row(
            state: .waitingForScript(.failure(failure), .buffered), path: [.close, .takeClose, .peerFailed],
            next: [
                .bytesLeft: (.waitingForScript(.failure(failure), .left), .none),
                .writeFailed: (.waitingForScript(.failure(failure), .lost), .none),
                .scriptCaughtUp: (.failed(failure, .buffered), .write),
                .end: (broken, .none), .endByUs: (broken, .none),
            ]),
        Row(
            state: .closeReceived(theirs, begins: true, .queued(answer)), path: [.peerClosed, .scriptCaughtUp],
            next: [
                .takeClose: (.closeReceived(theirs, begins: true, .buffered), .none),
                .writeFailed: (received(false, begins: true), .finish),
                .end: (received(false, begins: true), .none), .endByUs: (received(false, begins: true), .none),
            ]),
        Row(
            state: .closeReceived(theirs, begins: true, .buffered), path: [.peerClosed, .scriptCaughtUp, .takeClose],
            next: [
                .bytesLeft: (received(true, begins: true), .finish),
                .writeFailed: (received(false, begins: true), .finish),
                .end: (received(false, begins: true), .none), .endByUs: (received(false, begins: true), .none),
            ]),
        Row(
            state: .failed(failure, .queued(verdict)), path: [.peerFailed, .scriptCaughtUp],
            next: [
                .takeClose: (.failed(failure, .buffered), .none), .writeFailed: (broken, .finish),
                .end: (broken, .none), .endByUs: (broken, .none),
            ]),
        Row(
            state: .failed(failure, .buffered), path: [.peerFailed, .scriptCaughtUp, .takeClose],
            next: [
                .bytesLeft: (failedCompletely(failure), .finish), .writeFailed: (broken, .finish),
                .end: (broken, .none), .endByUs: (broken, .none),
            ]),
        Row(state: .over(cut), path: [.end], next: [:]),
        Row(
            state: received(true, begins: true), path: [.peerClosed, .scriptCaughtUp, .takeClose, .bytesLeft], next: [:]
        ),
    ]

    @Test(arguments: rows) func eachInputInEachState(row: Row) {
        for input in Input.allCases {
            var closing = ClosingHandshake()
            for step in row.path { _ = Self.apply(step, to: &closing) }
            #expect(closing.state == row.state)
            let action = Self.apply(input, to: &closing)
            let (state, expected) = row.next[input] ?? (row.state, .none)
            #expect(closing.state == state, "\(input)")
            #expect(action == expected, "\(input)")
        }
    }

    @Test func theCloseIsTakenOnce() {
        var closing = ClosingHandshake()
        #expect(closing.takeClose() == nil)
        _ = closing.close(Self.ours)
        #expect(closing.isCloseQueued && closing.allowsFrames)
        #expect(closing.takeClose() == Self.ours)
        #expect(!closing.isCloseQueued && !closing.allowsFrames)
        #expect(closing.takeClose() == nil)
    }

    /// RFC 6455 5.5.1: the answer has the code of the peer's Close; a Close without a code is answered without one.
    @Test(arguments: [CloseCode.normal, .noStatus, CloseCode(rawValue: 4000)]) func theAnswerHasTheCode(code: CloseCode)
    {
        var closing = ClosingHandshake()
        closing.peerClosed(CloseFrame(code: code, reason: "why"))
        #expect(closing.scriptCaughtUp() == .begin)
        #expect(closing.takeClose() == CloseFrame(code: code))
        #expect(closing.bytesLeft() == .finish)
        let frame = CloseFrame(code: code, reason: "why")
        #expect(closing.result == Result(frame, isClean: true, isRemote: true, isComplete: true))
        #expect(closing.result?.cause == nil)
    }

    @Test func theScriptIsToldOfAFailureBeforeItIsDealtWith() {
        var closing = ClosingHandshake()
        #expect(closing.failure == nil)
        closing.peerFailed(Self.failure)
        #expect(closing.failure == Self.failure)
        _ = closing.scriptCaughtUp()
        #expect(closing.failure == nil)
    }

    @Test(arguments: rows) func nothingFollowsAClose(row: Row) {
        var closing = ClosingHandshake()
        for step in row.path { _ = Self.apply(step, to: &closing) }
        let isTaken = row.path.contains(.takeClose) || row.path.contains(.writeFailed) || closing.result != nil
        #expect(closing.allowsFrames == !isTaken)
    }
}
