import Testing

@testable import WebSocketProtocol

@Suite struct WebSocketURLTests {
    /// The reason of the failure; nil if there is none.
    func refusal(_ url: () throws -> WebSocketURL) -> String? {
        do { _ = try url() } catch { return (error as? WebSocketURL.Failure)?.reason }
        return nil
    }

    struct Good: Sendable {
        var text: String
        var host: String
        var port: Int
        var target: String
        var isSecure = false
        var userInfo: String?
        var authority: String

        init(
            _ text: String, _ host: String, _ port: Int, _ target: String, secure: Bool = false, user: String? = nil,
            authority: String
        ) {
            self.text = text
            self.host = host
            self.port = port
            self.target = target
            isSecure = secure
            userInfo = user
            self.authority = authority
        }
    }

    @Test(arguments: [
        Good("ws://example.com", "example.com", 80, "/", authority: "example.com"),
        Good("wss://example.com", "example.com", 443, "/", secure: true, authority: "example.com"),
        Good("http://example.com/", "example.com", 80, "/", authority: "example.com"),
        Good("https://example.com/", "example.com", 443, "/", secure: true, authority: "example.com"),
        Good("WS://Example.COM/Path", "example.com", 80, "/Path", authority: "example.com"),
        Good("HTTPS://x", "x", 443, "/", secure: true, authority: "x"),
        // Ports.
        Good("ws://h:8080/", "h", 8080, "/", authority: "h:8080"),
        Good("ws://h:80/", "h", 80, "/", authority: "h"),
        Good("ws://h:443/", "h", 443, "/", authority: "h:443"),
        Good("wss://h:443/", "h", 443, "/", secure: true, authority: "h"),
        Good("wss://h:80/", "h", 80, "/", secure: true, authority: "h:80"),
        Good("ws://h:/a", "h", 80, "/a", authority: "h"),
        Good("wss://h:", "h", 443, "/", secure: true, authority: "h"),
        Good("ws://h:1", "h", 1, "/", authority: "h:1"),
        Good("ws://h:65535", "h", 65535, "/", authority: "h:65535"),
        Good("ws://h:00080", "h", 80, "/", authority: "h"),
        // Addresses and names.
        Good("ws://127.0.0.1:9001/getCaseCount", "127.0.0.1", 9001, "/getCaseCount", authority: "127.0.0.1:9001"),
        Good("ws://[::1]", "::1", 80, "/", authority: "[::1]"),
        Good("ws://[::1]:8080/a", "::1", 8080, "/a", authority: "[::1]:8080"),
        Good("ws://[2001:DB8::A]:/", "2001:db8::a", 80, "/", authority: "[2001:db8::a]"),
        Good("wss://[::ffff:1.2.3.4]:444", "::ffff:1.2.3.4", 444, "/", secure: true, authority: "[::ffff:1.2.3.4]:444"),
        Good("ws://xn--bcher-kva.example/", "xn--bcher-kva.example", 80, "/", authority: "xn--bcher-kva.example"),
        Good("ws://a_b-c.d~e!$&'()*+,;=f/", "a_b-c.d~e!$&'()*+,;=f", 80, "/", authority: "a_b-c.d~e!$&'()*+,;=f"),
        // Targets.
        Good("ws://h/a/b?c=d&e=f", "h", 80, "/a/b?c=d&e=f", authority: "h"),
        Good("ws://h?q", "h", 80, "/?q", authority: "h"),
        Good("ws://h:81?q", "h", 81, "/?q", authority: "h:81"),
        Good("ws://h#f", "h", 80, "/", authority: "h"),
        Good("ws://h/a#f?g", "h", 80, "/a", authority: "h"),
        Good("ws://h/a?b#c#d", "h", 80, "/a?b", authority: "h"),
        Good("ws://h//a//", "h", 80, "//a//", authority: "h"),
        Good("ws://h/a:b@c", "h", 80, "/a:b@c", authority: "h"),
        Good("ws://h/?u=ws://x@y", "h", 80, "/?u=ws://x@y", authority: "h"),
        Good("ws://h/%20%c3%A9", "h", 80, "/%20%c3%A9", authority: "h"),
        Good("ws://h/é?日本", "h", 80, "/%C3%A9?%E6%97%A5%E6%9C%AC", authority: "h"),
        Good("ws://h/a\"<>\\^`{|}b", "h", 80, "/a%22%3C%3E%5C%5E%60%7B%7C%7Db", authority: "h"),
        Good("ws://h/a;b,c=d!$&'()*+[]~._-", "h", 80, "/a;b,c=d!$&'()*+[]~._-", authority: "h"),
        // User and password.
        Good("ws://u:p@h/", "h", 80, "/", user: "u:p", authority: "h"),
        Good("ws://u@h:81", "h", 81, "/", user: "u:", authority: "h:81"),
        Good("ws://@h", "h", 80, "/", user: ":", authority: "h"),
        Good("ws://:@h", "h", 80, "/", user: ":", authority: "h"),
        Good("ws://u%40x:p%3a%2F%25@h/", "h", 80, "/", user: "u@x:p:/%", authority: "h"),
        Good("ws://u:p@q@h/", "h", 80, "/", user: "u:p@q", authority: "h"),
        Good("ws://u:%c3%a9é@[::1]:1/", "::1", 1, "/", user: "u:éé", authority: "[::1]:1"),
    ])
    func good(good: Good) throws {
        let url = try WebSocketURL(good.text)
        #expect(url.host == good.host)
        #expect(url.port == good.port)
        #expect(url.target == good.target)
        #expect(url.isSecure == good.isSecure)
        #expect(url.userInfo == good.userInfo)
        #expect(url.authority == good.authority)
        #expect(url.description == "\(good.isSecure ? "wss" : "ws")://\(good.authority)\(good.target)")
        // The description is a URL that means the same, without the user.
        let again = try WebSocketURL(url.description)
        #expect(again.authority == url.authority && again.target == url.target && again.userInfo == nil)
    }

    /// RFC 6874. Browsers accept no zone at all (URL Standard); curl accepts it with %25 and with a bare %, and so do we: the
    /// bare form is what `ip` and `ping` show and take. Two digits 25 behind the % are the escape, unless they are all.
    @Test(arguments: [
        ("ws://[fe80::1%25eth0]:9000/a", "eth0", "ws://[fe80::1%25eth0]:9000/a", "[fe80::1]:9000"),
        ("wss://[FE80::A%25Br-lan_0.1~]", "Br-lan_0.1~", "wss://[fe80::a%25Br-lan_0.1~]/", "[fe80::a]"),
        ("ws://[fe80::1%eth0]/", "eth0", "ws://[fe80::1%25eth0]/", "[fe80::1]"),
        ("ws://[fe80::1%252]/", "2", "ws://[fe80::1%252]/", "[fe80::1]"),
        ("ws://[fe80::1%2]/", "2", "ws://[fe80::1%252]/", "[fe80::1]"),
        ("ws://[fe80::1%25]/", "25", "ws://[fe80::1%2525]/", "[fe80::1]"),
        ("ws://[fe80::1%2525]/", "25", "ws://[fe80::1%2525]/", "[fe80::1]"),
        ("ws://[fe80::1%25eth0%3A1]/", "eth0:1", "ws://[fe80::1%25eth0%3A1]/", "[fe80::1]"),
        ("ws://[fe80::1%25eth0:1]/", "eth0:1", "ws://[fe80::1%25eth0%3A1]/", "[fe80::1]"),
        ("ws://u:p@[fe80::1%25e]/", "e", "ws://[fe80::1%25e]/", "[fe80::1]"),
    ])
    func zoneOfAnIPv6Address(text: String, zone: String, description: String, authority: String) throws {
        let url = try WebSocketURL(text)
        #expect(url.zone == zone)
        #expect(url.description == description)
        #expect(url.authority == authority)
        #expect(!url.host.contains("%"))
        let again = try WebSocketURL(url.description)
        #expect(again.zone == zone && again.isSameOrigin(as: url))
    }

    @Test(arguments: ["", "%", "%25%", "%25%4", "%%", "%25é", "%25a%00", "%25%20", "%25%0A", "%25%FF"])
    func aBadZoneIsRefused(zone: String) {
        // An address without any % has no zone.
        guard !zone.isEmpty else { return #expect((try? WebSocketURL("ws://[fe80::1]/"))?.zone == nil) }
        let words = "the IPv6 address has a bad zone; write it as in [fe80::1%25eth0]"
        #expect(refusal { try WebSocketURL("ws://[fe80::1\(zone)]/") }?.hasSuffix(words) == true)
    }

    @Test(arguments: ["ws://[1.2.3.4%25eth0]/", "ws://1.2.3.4%25eth0/", "ws://h%25eth0/", "ws://[h%25eth0]/"])
    func onlyAnIPv6AddressHasAZone(text: String) {
        #expect(throws: WebSocketURL.Failure.self) { try WebSocketURL(text) }
    }

    @Test(arguments: [
        ("", "it has no scheme; it must begin with ws:// or wss://"),
        ("example.com", "it has no scheme; it must begin with ws:// or wss://"),
        ("//example.com/", "it has no scheme; it must begin with ws:// or wss://"),
        ("ws:/example.com", "it has no scheme; it must begin with ws:// or wss://"),
        ("://h", "the scheme is ''; it must be ws, wss, http, https or ws+unix"),
        ("ftp://h", "the scheme is 'ftp'; it must be ws, wss, http, https or ws+unix"),
        ("wsss://h", "the scheme is 'wsss'; it must be ws, wss, http, https or ws+unix"),
        // Hosts.
        ("ws://", "it has no host"), ("ws:///path", "it has no host"), ("ws://:80", "it has no host"),
        ("ws://?q", "it has no host"),
        ("ws://h\\x/", "it has a backslash in the host"),
        ("ws://bücher.example/", "the host is not ASCII; write an international name in its xn-- form"),
        ("ws://a%62c/", "'a%62c' is not a host name"), ("ws://a\"b/", "'a\"b' is not a host name"),
        ("ws://a<b/", "'a<b' is not a host name"), ("ws://a]b/", "'a]b' is not a host name"),
        ("ws://a|b/", "'a|b' is not a host name"), ("ws://a^b/", "'a^b' is not a host name"),
        ("ws://a`b/", "'a`b' is not a host name"),
        // IPv6.
        ("ws://::1/", "an IPv6 address must stand in brackets, as in ws://[::1]:8080/"),
        ("ws://[::1/", "the IPv6 address has no closing bracket"),
        ("ws://[::g]/", "[::g] is not an IPv6 address"), ("ws://[]/", "[] is not an IPv6 address"),
        ("ws://[1.2.3.4]/", "[1.2.3.4] is not an IPv6 address"),
        ("ws://[::1]x/", "after the IPv6 address only a port can follow"),
        ("ws://[::1]8080/", "after the IPv6 address only a port can follow"),
        // Ports.
        ("ws://h:0/", "'0' is not a port; it must be a number from 1 to 65535"),
        ("ws://h:65536/", "'65536' is not a port; it must be a number from 1 to 65535"),
        ("ws://h:-1/", "'-1' is not a port; it must be a number from 1 to 65535"),
        ("ws://h:+80/", "'+80' is not a port; it must be a number from 1 to 65535"),
        ("ws://h:8o/", "'8o' is not a port; it must be a number from 1 to 65535"),
        ("ws://h:٨٠/", "'٨٠' is not a port; it must be a number from 1 to 65535"),
        ("ws://[::1]:x/", "'x' is not a port; it must be a number from 1 to 65535"),
        (
            "ws://h:99999999999999999999/",
            "'99999999999999999999' is not a port; it must be a number from 1 to 65535"
        ),
        // Escapes.
        ("ws://h/%", "it has a % that is not followed by two hex digits"),
        ("ws://h/%2", "it has a % that is not followed by two hex digits"),
        ("ws://h/%2g", "it has a % that is not followed by two hex digits"),
        ("ws://h/?a=%zz", "it has a % that is not followed by two hex digits"),
        ("ws://h/%é2", "it has a % that is not followed by two hex digits"),
    ])
    func bad(text: String, reason: String) {
        #expect(refusal { try WebSocketURL(text) } == "bad URL '\(text)': \(reason)")
    }

    @Test(arguments: ["\r", "\n", "\r\n", "\t", "\0", "\u{1B}", "\u{7F}"]) func controlCharacter(control: String) {
        let shown = String(repeating: "?", count: control.utf8.count)
        let reason = "it has a space or a control character; write them as %20 and the like"
        for (before, after) in [("", "ws://h/"), ("ws://h", "/"), ("ws://h/a", "b: c"), ("ws://h/", "")] {
            #expect(
                refusal { try WebSocketURL(before + control + after) }
                    == "bad URL '\(before)\(shown)\(after)': \(reason)")
        }
    }

    @Test func space() {
        #expect(
            refusal { try WebSocketURL("ws://h/a b") }
                == "bad URL 'ws://h/a b': it has a space or a control character; write them as %20 and the like")
    }

    @Test func aURLHasAtMost64KiB() throws {
        let text = "ws://h/" + String(repeating: "a", count: 65536 - 7)
        #expect(try WebSocketURL(text).target.utf8.count == 65536 - 6)
        #expect(refusal { try WebSocketURL(text + "a") }?.hasSuffix("it has more than 65536 bytes") == true)
    }

    @Test func aNameHasAtMost255Bytes() throws {
        let name = String(repeating: "a", count: 255)
        #expect(try WebSocketURL("ws://\(name)/").host == name)
        #expect(throws: WebSocketURL.Failure.self) { try WebSocketURL("ws://\(name)a/") }
    }

    // MARK: - Secrets in error texts

    @Test(arguments: [
        ("ws://user:secret@h:0/", "bad URL 'ws://…@h:0/': '0' is not a port; it must be a number from 1 to 65535"),
        ("ftp://secret@h", "bad URL 'ftp://…@h': the scheme is 'ftp'; it must be ws, wss, http, https or ws+unix"),
        ("ws://u:secret%zz@h/", "bad URL 'ws://…@h/': user:password has a bad %-escape"),
        ("ws://u:secret%2@h/", "bad URL 'ws://…@h/': user:password has a bad %-escape"),
        ("ws://u:secret%@h/", "bad URL 'ws://…@h/': user:password has a bad %-escape"),
        ("ws://u:secret%ff@h/", "bad URL 'ws://…@h/': user:password has a bad %-escape"),
        ("ws://u:sec@ret@/", "bad URL 'ws://…@/': it has no host"),
        ("ws://u:secret\\@h/", "bad URL 'ws://…@h/': it has a backslash in the host"),
        (
            "ws://u:sec ret@h/",
            "bad URL 'ws://…@h/': it has a space or a control character; write them as %20 and the like"
        ),
        ("u:secret@h/", "bad URL '…@h/': it has no scheme; it must begin with ws:// or wss://"),
        ("ws:/u:secret@h/", "bad URL '…@h/': it has no scheme; it must begin with ws:// or wss://"),
    ])
    func theUserIsNotShown(text: String, reason: String) {
        #expect(refusal { try WebSocketURL(text) } == reason)
    }

    /// A piece of the password may look like a host or a port.
    @Test(arguments: [
        "ws://u:secret/secret@h/", "ws://u:secret?secret@h/", "ws://u:secret#secret@h/", "ws://u@secret:x/secret@h/",
        "ws://u:[secret/secret@h/", "ws://[secret]:secret/secret@h/", "ws://u:secret%zz/secret@h/",
        "ws://u:secret/se@cret@h/",
    ])
    func aPasswordWithADelimiterIsNotShown(text: String) {
        let reason = "user, password, host or port is wrong; a /, ? or # in a password is written %2F, %3F or %23"
        #expect(refusal { try WebSocketURL(text) } == "bad URL 'ws://…@h/': \(reason)")
    }

    @Test(arguments: ["u:secret://secret@h/", "u:secret@h://x@h/"]) func aPasswordIsNoScheme(text: String) {
        #expect(
            refusal { try WebSocketURL(text) } == "bad URL '…@h/': it has no scheme; it must begin with ws:// or wss://"
        )
    }

    @Test func aLongURLIsShownInPart() {
        let text = "ws://h:x/" + String(repeating: "a", count: 500)
        let reason = "bad URL '\(text.prefix(200))…': 'x' is not a port; it must be a number from 1 to 65535"
        #expect(refusal { try WebSocketURL(text) } == reason)
    }

    /// Also in `problem`, which is all that a redirect's error shows.
    @Test(arguments: [
        ("ws://[\u{9B}1]/", "[?1] is not an IPv6 address"),
        ("ws://h:\u{9D}/", "'?' is not a port; it must be a number from 1 to 65535"),
        (
            "ws://h:" + String(repeating: "1", count: 201),
            "'\(String(repeating: "1", count: 200))…' is not a port; it must be a number from 1 to 65535"
        ),
        (
            "ws://" + String(repeating: "a", count: 300),
            "'\(String(repeating: "a", count: 200))…' is not a host name"
        ),
    ])
    func controlCharactersAndMuchTextAreNotShown(text: String, problem: String) throws {
        let failure = try #require(throws: WebSocketURL.Failure.self) { try WebSocketURL(text) }
        #expect(failure.problem == problem)
    }

    // MARK: - Bytes, not characters

    /// A delimiter with a combining mark is one character, but still a delimiter.
    @Test func combiningMarksHideNoDelimiter() throws {
        let mark = "\u{301}"
        #expect(try WebSocketURL("ws://h/\(mark)@evil.example/").host == "h")
        #expect(try WebSocketURL("ws://h/\(mark)").target == "/%CC%81")
        #expect(try WebSocketURL("ws://h?\(mark)@evil.example/").host == "h")
        #expect(try WebSocketURL("ws://h/a#\(mark)").target == "/a")
        #expect(
            refusal { try WebSocketURL("ws://u:secret@\(mark)h/") }
                == "bad URL 'ws://…@\(mark)h/': the host is not ASCII; write an international name in its xn-- form")
        #expect(throws: WebSocketURL.Failure.self) { try WebSocketURL("ws://h\\\(mark)x/") }
    }

    /// lowercased() turns U+212A into k.
    @Test func theKelvinSignIsNoK() {
        #expect(throws: WebSocketURL.Failure.self) { try WebSocketURL("ws://\u{212A}.example/") }
    }
}
