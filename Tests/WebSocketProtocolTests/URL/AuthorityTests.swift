// Authority alone: user and password as two values, and no port. WebSocketURLTests and ProxyTests have the rest.

import Testing

@testable import WebSocketProtocol

@Suite struct AuthorityTests {
    struct Parts: Sendable {
        var text: String
        var user: String?
        var password: String?
        var host = "h"
        var port: Int?
    }

    @Test(arguments: [
        Parts(text: "h"), Parts(text: "H:"), Parts(text: "h:8080", port: 8080),
        Parts(text: "[::A]", host: "::a"), Parts(text: "[::1]:65535", host: "::1", port: 65535),
        Parts(text: "u@h", user: "u"), Parts(text: "@h", user: ""), Parts(text: "u:@h", user: "u", password: ""),
        Parts(text: ":p@h", user: "", password: "p"), Parts(text: "u:p:q@h:1", user: "u", password: "p:q", port: 1),
        Parts(text: "u@x:p@q@h", user: "u@x", password: "p@q"),
        // Split before decoding.
        Parts(text: "a%3Ab:c%3ad%40@h", user: "a:b", password: "c:d@"), Parts(text: "a%3Ab@h", user: "a:b"),
        Parts(text: "%c3%a9:\u{E9}@h", user: "\u{E9}", password: "\u{E9}"),
    ])
    func parts(parts: Parts) throws {
        let authority = try Authority(parts.text[...])
        #expect(authority.user == parts.user)
        #expect(authority.password == parts.password)
        #expect(authority.host == parts.host)
        #expect(authority.port == parts.port)
    }

    @Test(arguments: ["u%@h", "u%4@h", "u%4g@h", "%ff@h", "u:p%@h", "u:%fe@h", "%c3:%a9@h"])
    func badEscape(text: String) {
        #expect(throws: Authority.Failure("user:password has a bad %-escape")) { try Authority(text[...]) }
    }

    @Test func theExampleStandsInTheText() {
        let words = "an IPv6 address must stand in brackets, as in"
        #expect(throws: Authority.Failure("\(words) [::1]:8080")) { try Authority("::1") }
        #expect(throws: Authority.Failure("\(words) x://[::1]")) { try Authority("::1", example: "x://[::1]") }
    }

    @Test(arguments: [("h", "h"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
    func brackets(host: String, written: String) { #expect(bracketed(host) == written) }

    @Test func aZoneStandsInTheBrackets() {
        #expect(bracketed("fe80::1", zone: "eth0") == "[fe80::1%25eth0]")
        #expect(bracketed("fe80::1", zone: "a%b/c") == "[fe80::1%25a%25b%2Fc]")
    }
}
