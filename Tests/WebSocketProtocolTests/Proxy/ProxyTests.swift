import Testing

@testable import WebSocketProtocol

@Suite struct ProxyTests {
    struct Good: Sendable {
        var text: String
        var kind = Proxy.Kind.http
        var host = "h"
        var port = 1080
        var user: String?
        var password: String?
        var description: String
    }

    @Test(arguments: [
        Good(text: "http://h:3128", port: 3128, description: "http://h:3128"),
        Good(text: "http://h:3128/", port: 3128, description: "http://h:3128"),
        Good(text: "h:3128", port: 3128, description: "http://h:3128"),
        Good(text: "h:3128/", port: 3128, description: "http://h:3128"),
        Good(text: "http://h", description: "http://h:1080"),
        Good(text: "http://h:", description: "http://h:1080"),
        Good(text: "h", description: "http://h:1080"),
        Good(text: "socks5://h", kind: .socks5, description: "socks5://h:1080"),
        Good(text: "socks5h://h/", kind: .socks5h, description: "socks5h://h:1080"),
        Good(text: "SOCKS5H://H:1", kind: .socks5h, port: 1, description: "socks5h://h:1"),
        Good(
            text: "HTTP://Proxy.EXAMPLE:80", host: "proxy.example", port: 80, description: "http://proxy.example:80"),
        Good(text: "http://127.0.0.1:8080", host: "127.0.0.1", port: 8080, description: "http://127.0.0.1:8080"),
        Good(text: "http://[::1]:8080", host: "::1", port: 8080, description: "http://[::1]:8080"),
        Good(
            text: "http://[fe80::1%25lo]:8080", host: "fe80::1", port: 8080, description: "http://[fe80::1%25lo]:8080"),
        Good(text: "[2001:DB8::1]", host: "2001:db8::1", description: "http://[2001:db8::1]:1080"),
        // User and password.
        Good(text: "http://u:p@h", user: "u", password: "p", description: "http://h:1080"),
        Good(text: "u:p@h:1", port: 1, user: "u", password: "p", description: "http://h:1"),
        Good(text: "http://u@h", user: "u", description: "http://h:1080"),
        Good(text: "http://:p@h", user: "", password: "p", description: "http://h:1080"),
        Good(
            text: "socks5://u%40x:p%3a%2F@[::1]:1", kind: .socks5, host: "::1", port: 1, user: "u@x", password: "p:/",
            description: "socks5://[::1]:1"),
        Good(text: "socks5://u%3Ax:p:q@h", kind: .socks5, user: "u:x", password: "p:q", description: "socks5://h:1080"),
        Good(text: "http://u:p@q@h", user: "u", password: "p@q", description: "http://h:1080"),
    ])
    func good(good: Good) throws {
        let proxy = try Proxy(good.text)
        #expect(proxy.kind == good.kind)
        #expect(proxy.host == good.host)
        #expect(proxy.port == good.port)
        #expect(proxy.user == good.user)
        #expect(proxy.password == good.password)
        #expect(proxy.description == good.description)
        #expect("\(proxy)" == good.description)
        #expect(try Proxy(proxy.description).description == good.description)
    }

    @Test func thePasswordCountsInComparisons() throws {
        #expect(try Proxy("http://u:p@h/") == Proxy("u:p@h"))
        #expect(try Proxy("http://u:p@h") != Proxy("http://u:q@h"))
    }

    /// Regression: a password of 2 GiB trapped, because OpenSSL takes a 32-bit length for Base64.
    @Test func longerThan64KiB() throws {
        let scheme = "http://u:"
        let password = String(repeating: "p", count: 65536 - scheme.utf8.count - 2)
        #expect(try Proxy("\(scheme)\(password)@h").password == password)
        #expect(throws: Proxy.Failure(reason: "bad proxy 'http://…@h': it has more than 65536 bytes")) {
            try Proxy("\(scheme)\(password)p@h")
        }
    }

    @Test(arguments: [
        ("https://h:1", "the scheme is 'https'; it must be http, socks5 or socks5h"),
        ("socks4://h", "the scheme is 'socks4'; it must be http, socks5 or socks5h"),
        ("SOCKS4A://h", "the scheme is 'socks4a'; it must be http, socks5 or socks5h"),
        ("socks://h", "the scheme is 'socks'; it must be http, socks5 or socks5h"),
        ("://h", "the scheme is ''; it must be http, socks5 or socks5h"),
        ("", "it has no host"), ("/", "it has no host"), ("http://", "it has no host"), ("http:///", "it has no host"),
        ("http://:80", "it has no host"),
        ("http://h:0", "'0' is not a port; it must be a number from 1 to 65535"),
        ("h:65536", "'65536' is not a port; it must be a number from 1 to 65535"),
        ("http:h", "'h' is not a port; it must be a number from 1 to 65535"),
        ("http://::1", "an IPv6 address must stand in brackets, as in [::1]:8080"),
        ("http://[::1", "the IPv6 address has no closing bracket"),
        ("http://[1.2.3.4]", "[1.2.3.4] is not an IPv6 address"),
        ("http://h\\x", "it has a backslash in the host"),
        ("http://bücher", "the host is not ASCII; write an international name in its xn-- form"),
        ("http://a%62", "'a%62' is not a host name"),
    ])
    func bad(text: String, reason: String) {
        #expect(throws: Proxy.Failure(reason: "bad proxy '\(text)': \(reason)")) { try Proxy(text) }
    }

    @Test(arguments: [
        "http://h/path", "http://h//", "h/path", "http://h?q", "http://h/?", "http://h#f", "http:/h", "http://h/a@b",
    ])
    func moreThanAnAuthority(text: String) {
        let shown = text == "http://h/a@b" ? "http://…@b" : text
        let reason = "it has more than user, password, host and port; a / in a password is written %2F"
        #expect(throws: Proxy.Failure(reason: "bad proxy '\(shown)': \(reason)")) { try Proxy(text) }
    }

    @Test(arguments: [" ", "\t", "\r", "\n", "\0", "\u{7F}"]) func controlCharacter(control: String) {
        let shown = control == " " ? " " : "?"
        let reason = "it has a space or a control character; write them as %20 and the like"
        for (before, after) in [("", "h"), ("http://h", ""), ("http://", ":1")] {
            #expect(throws: Proxy.Failure(reason: "bad proxy '\(before)\(shown)\(after)': \(reason)")) {
                try Proxy(before + control + after)
            }
        }
    }

    // MARK: - User and password

    /// RFC 1929 section 2.
    @Test func userAndPasswordForSOCKS5() throws {
        let long = String(repeating: "a", count: 255)
        #expect(try Proxy("socks5://\(long):\(long)@h").password == long)
        for text in ["@", "u@", ":p@", "u:@", "\(long)a:p@", "u:\(long)a@", "u:\(long.dropLast())é@"] {
            for scheme in ["socks5://", "socks5h://"] {
                let reason = "for SOCKS5, user and password must have 1 to 255 bytes each"
                #expect(throws: Proxy.Failure(reason: "bad proxy '\(scheme)…@h': \(reason)")) {
                    try Proxy("\(scheme)\(text)h")
                }
            }
            #expect(throws: Never.self) { try Proxy("http://\(text)h") }
        }
    }

    /// RFC 7617 section 2.
    @Test func userForHTTP() {
        #expect(throws: Proxy.Failure(reason: "bad proxy '…@h': the user has a colon, which HTTP can't send")) {
            try Proxy("u%3Ax:p@h")
        }
    }

    @Test(arguments: [
        ("http://u:secret@h:0", "'0' is not a port; it must be a number from 1 to 65535"),
        ("u:secret@h:0", "'0' is not a port; it must be a number from 1 to 65535"),
        ("https://u:secret@h", "the scheme is 'https'; it must be http, socks5 or socks5h"),
        ("http://u:secret%zz@h", "user:password has a bad %-escape"),
        ("http://u:secret\\@h", "it has a backslash in the host"),
        ("http://u:sec@ret@", "it has no host"),
        ("http://u:sec ret@h", "it has a space or a control character; write them as %20 and the like"),
        (
            "http://u:sec/ret@h",
            "it has more than user, password, host and port; a / in a password is written %2F"
        ),
        ("u:sec://ret@h", "it has more than user, password, host and port; a / in a password is written %2F"),
    ])
    func theUserIsNotShown(text: String, reason: String) throws {
        let failure = try #require(throws: Proxy.Failure.self) { try Proxy(text) }
        let shown = failure.reason
        #expect(shown.hasPrefix("bad proxy '"))
        #expect(shown.hasSuffix("': \(reason)"))
        #expect(!shown.contains("sec") && !shown.contains("ret") && !shown.contains("u:"))
        #expect(shown.contains("…@"))
    }

    @Test func aLongURLIsShownInPart() {
        let text = "http://h:x" + String(repeating: "a", count: 500)
        let port = text.dropFirst(9).prefix(200)
        #expect(
            throws: Proxy.Failure(
                reason:
                    "bad proxy '\(text.prefix(200))…': '\(port)…' is not a port; it must be a number from 1 to 65535")
        ) { try Proxy(text) }
    }
}
