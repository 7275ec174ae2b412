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
            closing.end()
            return .none
        case .endByUs:
            closing.end(byUs: true)
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

    private static let cut = Result(isRemote: true)
    private static let given = Result(isRemote: false)

    private static func received(_ isClean: Bool, begins: Bool) -> State {
        .over(Result(code: .normal, reason: "theirs", isClean: isClean, isRemote: begins, isComplete: isClean))
    }

    private static let failedCompletely = State.over(Result(isRemote: false, isComplete: true))

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
                .none, begins: true, limited: (.failed(.queued(limitVerdict)), .begin)
            ).merging([
                .close: (.closing(.queued(ours)), .begin), .writeFailed: (.writeFailed(begun: false), .none),
                .end: (.over(cut), .none), .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .closing(.queued(ours)), path: [.close],
            next: peerEnds(
                .queued(ours), begins: false, limited: (.failed(.queued(ours)), .write)
            ).merging([
                .takeClose: (.closing(.buffered), .none), .writeFailed: (.writeFailed(begun: true), .none),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .closing(.buffered), path: [.close, .takeClose],
            next: peerEnds(
                .buffered, begins: false, limited: (.failed(.buffered), .write)
            ).merging([
                .bytesLeft: (.closing(.left), .none), .writeFailed: (.writeFailed(begun: true), .none),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .closing(.left), path: [.close, .takeClose, .bytesLeft],
            next: peerEnds(
                .left, begins: false, limited: (failedCompletely, .finish)
            ).merging([
                .writeFailed: (.writeFailed(begun: true), .none), .end: (.over(given), .none),
                .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .writeFailed(begun: false), path: [.writeFailed],
            next: peerEnds(
                .lost, begins: true, limited: (.over(given), .finish)
            ).merging([
                .close: (.writeFailed(begun: true), .begin), .end: (.over(cut), .none),
                .endByUs: (.over(given), .none),
            ]) { $1 }),
        Row(
            state: .writeFailed(begun: true), path: [.close, .writeFailed],
            next: peerEnds(
                .lost, begins: false, limited: (.over(given), .finish)
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
                .scriptCaughtUp: (.failed(.queued(verdict)), .begin),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]),
        Row(
            state: .waitingForScript(.failure(failure), .buffered), path: [.close, .takeClose, .peerFailed],
            next: [
                .bytesLeft: (.waitingForScript(.failure(failure), .left), .none),
                .writeFailed: (.waitingForScript(.failure(failure), .lost), .none),
                .scriptCaughtUp: (.failed(.buffered), .write),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
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
            state: .failed(.queued(verdict)), path: [.peerFailed, .scriptCaughtUp],
            next: [
                .takeClose: (.failed(.buffered), .none), .writeFailed: (.over(given), .finish),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
            ]),
        Row(
            state: .failed(.buffered), path: [.peerFailed, .scriptCaughtUp, .takeClose],
            next: [
                .bytesLeft: (failedCompletely, .finish), .writeFailed: (.over(given), .finish),
                .end: (.over(given), .none), .endByUs: (.over(given), .none),
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
        #expect(closing.result == Result(code: code, reason: "why", isClean: true, isRemote: true, isComplete: true))
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
