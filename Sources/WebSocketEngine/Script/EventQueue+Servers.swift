// What servers add to the queue of a Lua state: ids for the websockets that the engine makes, and the objects that belong to the
// records of requests and of accepted websockets, until Lua's thread has read the record.

import CEvents
import Synchronization
import WebSocketProtocol

extension EventQueue {
    /// An id for a websocket or a server: not 0, and not that of a live websocket, also when the numbers begin anew.
    public func newID() -> UInt32 {
        shared.withLock { shared in
            var id: UInt32
            repeat {
                id = lastID.wrappingAdd(1, ordering: .relaxed).newValue
            } while id == 0 || shared.live[id] != nil || shared.servers[id] != nil
            return id
        }
    }

    // MARK: - Lua's thread

    func serverStarted(_ server: Server) { shared.withLock { $0.servers[server.id] = server } }

    func serverEnded(_ server: Server) { shared.withLock { _ = $0.servers.removeValue(forKey: server.id) } }

    /// The websocket of an OPEN record with WS_EVENT_ACCEPTED.
    public func takeAccepted(_ id: UInt32) -> WebSocket? { shared.withLock { $0.accepted.removeValue(forKey: id) } }

    /// The id of the server that has accepted it; 0 if it was taken.
    public func serverOfAccepted(_ id: UInt32) -> UInt32 { shared.withLock { $0.accepted[id]?.server?.id ?? 0 } }

    /// The id of the server that was asked; 0 if the request was taken.
    public func serverOfRequest(_ id: UInt32) -> UInt32 { shared.withLock { $0.requests[id]?.serverID ?? 0 } }

    /// The request of a WS_EVENT_REQUEST record.
    public func takeRequest(_ id: UInt32) -> IncomingRequest? {
        shared.withLock { $0.requests.removeValue(forKey: id) }
    }

    /// The Lua state ends: nobody will take them.
    func acceptedWebSockets() -> [WebSocket] {
        shared.withLock { shared in
            defer { shared.accepted = [:] }
            return Array(shared.accepted.values)
        }
    }

    // MARK: - The thread that runs the loop

    /// The websocket is open. To be called before its OPEN is published, with the flag WS_EVENT_ACCEPTED. False if the Lua state
    /// is gone.
    func accepted(_ websocket: WebSocket) -> Bool {
        shared.withLock { shared in
            guard !shared.isShut else { return false }
            shared.accepted[websocket.id] = websocket
            shared.live[websocket.id] = (websocket, 1)
            return true
        }
    }

    /// Publishes a request for the script's onrequest.
    func ask(_ request: IncomingRequest, _ info: EventInfo, _ records: inout EventRecords) {
        shared.withLock { shared in
            if !shared.isShut { shared.requests[request.id] = request }
        }
        info.payload.withUnsafeBytes { records.append(essential: WS_EVENT_REQUEST, socket: request.id, $0) }
        publish(&records)
    }

    /// The client of this request waits no longer, and no OPEN will follow.
    func requestEnded(_ id: UInt32, _ records: inout EventRecords) {
        EventInfo().payload.withUnsafeBytes { records.append(essential: WS_EVENT_ENDED, socket: id, $0) }
        publish(&records)
    }

    /// The engine has failed.
    func endServers(_ reason: String, _ records: inout EventRecords) {
        let servers = shared.withLock { shared in
            defer { shared.servers = [:] }
            return shared.servers.values
        }
        for server in servers { server.engineFailed(reason, &records) }
    }
}
