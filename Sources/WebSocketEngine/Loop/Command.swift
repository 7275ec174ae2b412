// A command to the loop. Made on Lua's threads and on those of Resolver and TLSContextCache, executed by Loop+Commands. A
// rare one with much content is indirect: the commands that wait are in an array, which grows by their size.

import Dispatch
import WebSocketProtocol

enum Command: Sendable {
    case connect(WebSocket)
    case close(WebSocket, CloseFrame)
    /// The websocket's SendQueue has frames to write.
    case flush(WebSocket)
    /// The script's answer to a question of `onattempt`.
    indirect case answer(WebSocket, question: UInt32, AttemptAnswer)
    /// The script has caught up with the websocket's events, so that reading can go on.
    case resume(WebSocket)
    /// Lua had no memory for a message of `bytes` bytes of the connection with this number (SendQueue.connection).
    case refuse(WebSocket, bytes: Int, connection: UInt32)
    /// Accept connections.
    case listen(Server)
    /// The listening sockets are closed: close the connections, too.
    case closeServer(Server, CloseFrame)
    case closeSession(WebSocket, CloseFrame)
    /// What is to be written to a server's client that has asked.
    indirect case answerRequest(WebSocket, ServerHandshake.Answer)
    /// The Lua state of this queue has ended, and its websockets did not close in time.
    case dropSessions(EventQueue)
    case dropSession(WebSocket)
    /// The process ends: close all connections, then signal.
    case shutDown(DispatchSemaphore)
    case shutDownSession(WebSocket)
    /// Drop all sessions, signal, and run no more.
    case stopLoop(DispatchSemaphore)
    case lookupFinished(HostAndPort, Resolution)
    /// The result of a lookup, for the session that waits with this token.
    case lookupResult(Poller.Token, Resolution)
    indirect case tlsContextMade(Options.TLS, Result<TLSContext, TLSFailure>)
    /// A TLS context, for the session that waits with this token.
    case tlsContextResult(Poller.Token, Result<TLSContext, TLSFailure>)
}
