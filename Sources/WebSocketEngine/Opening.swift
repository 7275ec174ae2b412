// One attempt to open a connection: the name, the race of its addresses, the handshake. Ends as an open
// channel or as a failure in words; Session decides what follows.

import WebSocketProtocol

final class Opening {
    enum Progress {
        case pending
        case open(Channel, Info)
        case failed(Failure)
    }

    /// Why an attempt failed: what an ERROR event tells.
    struct Failure {
        /// `info.kind`
        var kind: String
        var reason: String
        /// Trying again would not help.
        var isPermanent = false
        var response: HTTPHead?
        /// The first bytes of the body of a refused handshake.
        var body = ""
    }

    private enum Stage {
        case resolving(Poller.Token)
        case connecting(ConnectRace)
        case handshaking(Handshaking)
        case over
    }

    private let socket: WebSocket
    private let slot: Int
    private let url: WebSocketURL
    private let epoch: UInt16
    private var stage = Stage.over
    /// When the whole attempt is given up.
    private let limit: Nanoseconds

    init(_ socket: WebSocket, _ url: WebSocketURL, slot: Int, epoch: UInt16, now: Nanoseconds) {
        self.socket = socket
        self.slot = slot
        self.url = url
        self.epoch = epoch
        limit = now + Nanoseconds(seconds: socket.options.connectTimeout)
    }

    var deadline: Nanoseconds {
        switch stage {
        case .connecting(let race): min(limit, race.nextStart ?? limit)
        case .handshaking(let handshaking): min(limit, handshaking.bodyLimit ?? limit)
        case .resolving, .over: limit
        }
    }

    /// - Parameter token: unique to this attempt; the resolver's answer carries it.
    func start(_ token: Poller.Token, _ reactor: inout Reactor) -> Progress {
        stage = .resolving(token)
        guard let answer = Resolver.resolve(url.host, url.port, token, reactor.mailbox) else { return .pending }
        return resolved(token, answer, &reactor)
    }

    func resolved(_ token: Poller.Token, _ resolution: Resolution, _ reactor: inout Reactor) -> Progress {
        guard case .resolving(token) = stage else { return .pending }
        switch resolution {
        case .failed(let words):
            return .failed(Failure(kind: "dns", reason: "can't resolve the host \(url.host): \(words)"))
        case .addresses(let addresses):
            let race = ConnectRace(addresses, slot: slot)
            stage = .connecting(race)
            return raced(race.advance(&reactor), &reactor)
        }
    }

    func ready(_ readiness: Poller.Readiness, _ reactor: inout Reactor) -> Progress {
        switch stage {
        case .connecting(let race): return raced(race.ready(readiness.token, &reactor), &reactor)
        case .handshaking(let handshaking):
            return handshaking.transport.token == readiness.token ? shaken(handshaking, &reactor) : .pending
        case .resolving, .over: return .pending
        }
    }

    func timeout(_ reactor: inout Reactor) -> Progress {
        switch stage {
        case .connecting(let race) where reactor.now < limit: return raced(race.advance(&reactor), &reactor)
        case .handshaking(let handshaking):
            if let bodyLimit = handshaking.bodyLimit, reactor.now >= min(bodyLimit, limit) {
                return refused(handshaking)
            }
            guard reactor.now >= limit else { return .pending }
            return timedOut("the server did not answer the handshake")
        case .resolving where reactor.now >= limit: return timedOut("the host \(url.host) could not be resolved")
        case .connecting: return timedOut("no address answered")
        case .resolving, .over: return .pending
        }
    }

    private func timedOut(_ what: String) -> Progress {
        stage = .over
        let seconds = "\(socket.options.connectTimeout)"
        return .failed(Failure(kind: "timeout", reason: "\(what) within the connecttimeout of \(seconds) s"))
    }

    private func raced(_ progress: ConnectRace.Progress, _ reactor: inout Reactor) -> Progress {
        switch progress {
        case .pending: return .pending
        case .failed(let words):
            stage = .over
            return .failed(Failure(kind: "connect", reason: words))
        case .connected(let transport, let address):
            guard let nonce = reactor.random.words(4) else {
                stage = .over
                return .failed(Failure(kind: "system", reason: SystemError("getrandom").description))
            }
            let options = socket.options
            let handshake = ClientHandshake(
                url: url, headers: options.headers, subprotocols: options.protocols,
                deflate: options.deflate?.parameters,
                nonce: nonce, userAgent: "lua-websocket")
            let handshaking = Handshaking(transport, address, handshake)
            stage = .handshaking(handshaking)
            return shaken(handshaking, &reactor)
        }
    }

    private func shaken(_ handshaking: Handshaking, _ reactor: inout Reactor) -> Progress {
        switch handshaking.advance(&reactor) {
        case .pending: return .pending
        case .refused: return refused(handshaking)
        case .broken(let words):
            stage = .over
            return .failed(Failure(kind: "handshake", reason: words))
        case .unacceptable(let failure):
            stage = .over
            return .failed(
                Failure(kind: "handshake", reason: failure.reason, isPermanent: true, response: handshaking.head))
        case .agreed(let agreement, let rest):
            stage = .over
            return opened(handshaking, agreement, rest)
        }
    }

    /// Statuses that say no for good, and answers that no WebSocket server gives.
    private static let permanentStatuses: Set = [400, 401, 403, 404, 405, 410, 426]

    private func refused(_ handshaking: Handshaking) -> Progress {
        stage = .over
        let status = handshaking.head?.status ?? 0
        return .failed(
            Failure(
                kind: "handshake", reason: handshaking.refusal,
                isPermanent: Self.permanentStatuses.contains(status) || (200...299).contains(status),
                response: handshaking.head, body: handshaking.body))
    }

    private func opened(_ handshaking: Handshaking, _ agreement: ClientHandshake.Agreement, _ rest: [UInt8]) -> Progress
    {
        var info = Info()
        info.add("protocol", agreement.subprotocol)
        info.add("extensions", agreement.extensions)
        if let head = handshaking.head { info.add("headers", head.fields) }
        info.add("address", handshaking.address.description)
        info.add("url", url.description)
        return .open(Channel(socket, handshaking.transport, agreement, rest, epoch: epoch), info)
    }
}
