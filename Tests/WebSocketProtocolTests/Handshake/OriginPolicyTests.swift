import Testing

@testable import WebSocketProtocol

@Suite struct OriginPolicyTests {
    private func allows(_ policy: OriginPolicy, _ origin: String?, _ host: String) throws -> Bool {
        policy.allows(origin, for: try Authority(host[...]))
    }

    @Test(arguments: [.sameHost, .list([]), .list(["https://a"]), .any] as [OriginPolicy])
    func programsSendNone(policy: OriginPolicy) throws {
        #expect(try allows(policy, nil, "h"))
    }

    @Test(arguments: [
        ("http://h", "h"), ("https://h", "h"), ("HTTP://H", "h"), ("http://h", "h:80"), ("https://h", "h:443"),
        ("https://h:443", "h"), ("http://h:8080", "h:8080"), ("http://[::1]:81", "[::1]:81"), ("http://h/", "h"),
        ("http://127.0.0.1:81", "127.0.0.1:81"),
    ])
    func theSameHost(origin: String, host: String) throws {
        #expect(try allows(.sameHost, origin, host))
    }

    @Test(arguments: [
        ("http://evil", "h"), ("http://h.evil", "h"), ("http://evil.h", "h"), ("http://h:81", "h"),
        ("http://h", "h:81"),
        ("http://h", "h:443"), ("https://h", "h:80"), ("null", "h"), ("", "h"), ("h", "h"), ("//h", "h"),
        ("http:h", "h"),
        ("http://", "h"), ("http://h@evil", "h"), ("http://evil#h", "h"), ("http://evil?@h", "h"),
        ("http://evil/@h", "h"),
        ("http://h http://evil", "h"), ("http://h, http://evil", "h"), ("chrome-extension://h", "h"), ("file://", "h"),
        ("http://\u{212A}", "k"), ("http://evil\\h", "h"), ("http://h:x", "h"),
    ])
    func anotherHost(origin: String, host: String) throws {
        #expect(try !allows(.sameHost, origin, host))
        #expect(try allows(.any, origin, host))
    }

    @Test func withoutAHostNoWebsiteIsTheSame() {
        #expect(!OriginPolicy.sameHost.allows("http://h", for: nil))
    }

    @Test(arguments: [
        ("https://a", true), ("HTTPS://A", true), ("http://b:3000", true), ("null", true), ("file://", true),
        ("http://a", false), ("https://a:444", false), ("https://a.b", false), ("https://a/", false),
        ("http://h", false),
        ("", false), ("https://\u{E1}", false),
    ])
    func aList(origin: String, isAllowed: Bool) throws {
        #expect(try allows(.list(["https://a", "http://b:3000", "null", "file://"]), origin, "h") == isAllowed)
    }
}
