// Why a server refuses a request, and the response that says so: thrown by HTTPRequestReader and ServerHandshake. Pure;
// used on the loop thread.

public struct RequestRefusal: Error, Equatable, Sendable {
    /// Of the response (RFC 9110 section 15).
    public let status: Int
    /// A clause for the response's body and for debug lines. It has no secret and no control character.
    public let reason: String
    /// Fields of the response besides those that every response has.
    let fields: HeaderFields

    init(status: Int, _ reason: String, fields: [(String, String)] = []) {
        self.status = status
        self.reason = reason
        var list = HeaderFields()
        for (name, value) in fields { list.append(name, value) }
        self.fields = list
    }

    /// A request that breaks the rules.
    static func badRequest(_ reason: String) -> RequestRefusal { RequestRefusal(status: 400, reason) }

    /// RFC 9110 section 15.5.22, RFC 6455 section 4.4: the fields name the protocol and the version to use.
    static func upgradeRequired(_ reason: String) -> RequestRefusal {
        RequestRefusal(status: 426, reason, fields: [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])
    }

    /// The script gave no answer that can be sent: it raised an error, or see AnswerFailure.
    public static let noAnswer = RequestRefusal(status: 500, "the server's script has failed")

    /// RFC 9110 section 15.5.9.
    public static func timeout(_ reason: String) -> RequestRefusal { RequestRefusal(status: 408, reason) }

    /// The script has not answered in time.
    public static func unanswered(_ reason: String) -> RequestRefusal { RequestRefusal(status: 503, reason) }

    public var response: HTTPResponse { HTTPResponse(self) }
}
