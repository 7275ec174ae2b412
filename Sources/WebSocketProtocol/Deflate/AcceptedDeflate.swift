// A server's answer to an offer of permessage-deflate (RFC 7692 section 7.1). Pure; made by DeflateParameters on the loop
// thread, sent by ServerHandshake.

struct AcceptedDeflate: Equatable, Sendable {
    let parameters: DeflateParameters
    /// The value of `Sec-WebSocket-Extensions`.
    let answer: String

    /// - Parameter repeatsServerWindow: the offer has server_max_window_bits, so the answer must have it (7.1.2.1).
    init(parameters: DeflateParameters, repeatsServerWindow: Bool) {
        self.parameters = parameters
        var answer = DeflateParameters.extensionName
        if !parameters.server.takeover { answer += "; server_no_context_takeover" }
        if !parameters.client.takeover { answer += "; client_no_context_takeover" }
        if parameters.server.windowBits < 15 || repeatsServerWindow {
            answer += "; server_max_window_bits=\(parameters.server.windowBits)"
        }
        if parameters.client.windowBits < 15 { answer += "; client_max_window_bits=\(parameters.client.windowBits)" }
        self.answer = answer
    }
}
