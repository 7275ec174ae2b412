import Testing

@testable import WebSocketProtocol

extension WebSocketURLTests {
    private func resolve(_ reference: String, at base: String = "ws://a/b/c/d;p?q") throws -> WebSocketURL {
        try WebSocketURL(base).resolving(reference)
    }

    // MARK: - RFC 3986 section 5.4

    @Test(arguments: [
        ("g", "ws://a/b/c/g"), ("./g", "ws://a/b/c/g"), ("g/", "ws://a/b/c/g/"), ("/g", "ws://a/g"),
        ("//g", "ws://g/"), ("?y", "ws://a/b/c/d;p?y"), ("g?y", "ws://a/b/c/g?y"), ("#s", "ws://a/b/c/d;p?q"),
        ("g#s", "ws://a/b/c/g"), ("g?y#s", "ws://a/b/c/g?y"), (";x", "ws://a/b/c/;x"), ("g;x", "ws://a/b/c/g;x"),
        ("g;x?y#s", "ws://a/b/c/g;x?y"), ("", "ws://a/b/c/d;p?q"), (".", "ws://a/b/c/"), ("./", "ws://a/b/c/"),
        ("..", "ws://a/b/"), ("../", "ws://a/b/"), ("../g", "ws://a/b/g"), ("../..", "ws://a/"),
        ("../../", "ws://a/"), ("../../g", "ws://a/g"),
        // 5.4.2, abnormal examples.
        ("../../../g", "ws://a/g"), ("../../../../g", "ws://a/g"), ("/./g", "ws://a/g"), ("/../g", "ws://a/g"),
        ("g.", "ws://a/b/c/g."), (".g", "ws://a/b/c/.g"), ("g..", "ws://a/b/c/g.."), ("..g", "ws://a/b/c/..g"),
        ("./../g", "ws://a/b/g"), ("./g/.", "ws://a/b/c/g/"), ("g/./h", "ws://a/b/c/g/h"),
        ("g/../h", "ws://a/b/c/h"), ("g;x=1/./y", "ws://a/b/c/g;x=1/y"), ("g;x=1/../y", "ws://a/b/c/y"),
        ("g?y/./x", "ws://a/b/c/g?y/./x"), ("g?y/../x", "ws://a/b/c/g?y/../x"), ("g#s/./x", "ws://a/b/c/g"),
        ("g#s/../x", "ws://a/b/c/g"),
    ])
    func examplesOfTheRFC(reference: String, url: String) throws {
        #expect(try resolve(reference).description == url)
    }

    // MARK: - More references

    @Test(arguments: [
        ("ws://h", "ws://h/"), ("wss://h/x", "wss://h/x"), ("http://h:81/a/../b?c/../d", "ws://h:81/b?c/../d"),
        ("HTTPS://H?q", "wss://h/?q"), ("ws://h/..", "ws://h/"), ("ws://[::1]:2/./a", "ws://[::1]:2/a"),
        ("//h:81/../x?y#z", "ws://h:81/x?y"), ("//h?q", "ws://h/?q"),
        ("?", "ws://a/b/c/d;p?"), ("/", "ws://a/"), ("./g:h", "ws://a/b/c/g:h"),
        ("é?ü", "ws://a/b/c/%C3%A9?%C3%BC"), ("%2e%2E/g", "ws://a/b/c/%2e%2E/g"), ("/a//../b", "ws://a/a/b"),
        ("/a//b/", "ws://a/a//b/"), ("g/\u{301}../h", "ws://a/b/c/g/%CC%81../h"),
    ])
    func reference(reference: String, url: String) throws {
        #expect(try resolve(reference).description == url)
    }

    @Test(arguments: [
        ("bar", "ws://a//bar"), ("?q", "ws://a//foo?q"), ("", "ws://a//foo?o"), ("../x", "ws://a/x"),
        ("/y", "ws://a/y"),
    ])
    func aTargetThatBeginsWithTwoSlashesIsNoAuthority(reference: String, url: String) throws {
        // Regression: two redirects could end the process.
        #expect(try resolve(reference, at: "ws://a//foo?o").description == url)
    }

    @Test func theSchemeOfTheBaseStays() throws {
        #expect(try resolve("//h/x", at: "wss://a/").description == "wss://h/x")
        #expect(try resolve("x", at: "wss://a:8443/y/z").description == "wss://a:8443/y/x")
        #expect(try resolve("/x", at: "wss://[::1]/y?z").description == "wss://[::1]/x")
    }

    /// A server knows no zone of this machine: ours stays with the same address, and another address gets none.
    @Test(arguments: [
        ("x", "ws://[fe80::1%25lo]:9/a/x"), ("//[fe80::1]:8/", "ws://[fe80::1%25lo]:8/"),
        ("wss://[fe80::1%25eth0]/", "wss://[fe80::1%25lo]/"), ("ws://[fe80::2%25lo]/", "ws://[fe80::2]/"),
        ("ws://h/", "ws://h/"),
    ])
    func zoneOfARedirect(reference: String, url: String) throws {
        #expect(try resolve(reference, at: "ws://[fe80::1%25lo]:9/a/b").description == url)
        #expect(try resolve("ws://[fe80::1%25lo]:9/", at: "ws://[fe80::1]:9/").zone == nil)
    }

    @Test func anotherZoneIsAnotherOrigin() throws {
        let url = try WebSocketURL("ws://[fe80::1%25lo]/")
        #expect(try url.isSameOrigin(as: WebSocketURL("ws://[fe80::1%lo]/a")))
        #expect(try !url.isSameOrigin(as: WebSocketURL("ws://[fe80::1%25eth0]/")))
        #expect(try !url.isSameOrigin(as: WebSocketURL("ws://[fe80::1]/")))
    }

    @Test func anEmptyReferenceKeepsDotSegmentsOfTheScript() throws {
        #expect(try resolve("", at: "ws://a/b/../c?q").description == "ws://a/b/../c?q")
        #expect(try resolve("?r", at: "ws://a/b/../c?q").description == "ws://a/b/../c?r")
    }

    @Test func aLongPathIsResolvedQuickly() throws {
        let reference = String(repeating: "a/", count: 50_000) + String(repeating: "../", count: 50_000) + "g"
        #expect(try resolve(reference).description == "ws://a/b/c/g")
    }

    // MARK: - Attacks

    @Test(arguments: [
        // The part before the @ is a user, which is dropped.
        ("//evil@good", "ws://good/"), ("//good:80@evil/", "ws://evil/"), ("ws://evil@good/x", "ws://good/x"),
        // A backslash is no slash, though browsers take it for one.
        ("\\\\evil", "ws://a/b/c/%5C%5Cevil"), ("/\\evil", "ws://a/%5Cevil"), ("\\evil", "ws://a/b/c/%5Cevil"),
        // Two slashes that remain after removing dot segments begin no authority.
        ("/.//evil", "ws://a//evil"), ("/..//evil", "ws://a//evil"), (".//../..//evil", "ws://a/b//evil"),
        ("/x/..//evil", "ws://a//evil"), ("@evil", "ws://a/b/c/@evil"), ("/@evil", "ws://a/@evil"),
        ("?@evil", "ws://a/b/c/d;p?@evil"), ("#@evil", "ws://a/b/c/d;p?q"),
    ])
    func attack(reference: String, url: String) throws {
        let resolved = try resolve(reference)
        #expect(resolved.description == url)
        #expect(resolved.userInfo == nil)
    }

    @Test(arguments: [
        ("javascript:alert(1)", "a server can lead to ws, wss, http and https only"),
        ("file:///etc/passwd", "a server can lead to ws, wss, http and https only"),
        ("ws+unix:/run/docker.sock:/x", "a server can lead to ws, wss, http and https only"),
        ("WS+UNIX:///run/docker.sock:/x", "a server can lead to ws, wss, http and https only"),
        ("g:h", "a server can lead to ws, wss, http and https only"),
        (":80/x", "a server can lead to ws, wss, http and https only"),
        ("ws:evil", "it has no // behind the scheme"), ("http:g", "it has no // behind the scheme"),
        ("ws:/evil", "it has no // behind the scheme"), ("wss:\\\\evil", "it has no // behind the scheme"),
        ("ws://h/\r\nX: y", "it has a space or a control character"),
        ("/a#\r\nX: y", "it has a space or a control character"),
        ("a b", "it has a space or a control character"), ("\u{0}", "it has a space or a control character"),
        ("\t//h", "it has a space or a control character"),
    ])
    func refusedReference(reference: String, reason: String) {
        let shown = String(
            String.UnicodeScalarView(reference.unicodeScalars.map { $0.value < 0x20 ? "?" : $0 }))
        #expect(refusal { try resolve(reference) } == "bad URL '\(shown)': \(reason)")
    }

    /// References whose URL is refused.
    @Test(arguments: [
        ("//", "ws://", "it has no host"), ("///x", "ws:///x", "it has no host"), ("ws://", "ws://", "it has no host"),
        ("//h\\@x/", "ws://…@x/", "it has a backslash in the host"),
        ("//h:0", "ws://h:0", "'0' is not a port; it must be a number from 1 to 65535"),
        ("//u:secret@h:0", "ws://…@h:0", "'0' is not a port; it must be a number from 1 to 65535"),
        ("//u:%zz@h", "ws://…@h", "user:password has a bad %-escape"),
        ("%", "ws://a/b/c/%", "it has a % that is not followed by two hex digits"),
        ("?%2", "ws://a/b/c/d;p?%2", "it has a % that is not followed by two hex digits"),
        ("//é/", "ws://é/", "the host is not ASCII; write an international name in its xn-- form"),
    ])
    func refusedURL(reference: String, shown: String, reason: String) {
        #expect(refusal { try resolve(reference) } == "bad URL '\(shown)': \(reason)")
    }

    // MARK: - User and password

    @Test(
        arguments: [
            ("/x", "u:p"), ("x", "u:p"), ("", "u:p"), ("?q", "u:p"), ("//h:80/x", "u:p"), ("ws://H/x", "u:p"),
            ("http://h/x", "u:p"),
            // Another origin.
            ("ws://h:81/x", nil), ("wss://h/x", nil), ("//i/x", nil), ("//h./x", nil),
            // A user that the server chose.
            ("ws://v:w@h/x", nil), ("//@h/x", nil), ("//u:p@h/x", nil), ("ws://v:w@i/x", nil),
        ] as [(String, String?)])
    func userAndPasswordStayWithTheirOrigin(reference: String, userInfo: String?) throws {
        #expect(try resolve(reference, at: "ws://u:p@h/a").userInfo == userInfo)
    }

    @Test(arguments: [
        ("ws://h/a", "http://u@H:80/b?c", true), ("wss://h", "https://h:443", true), ("ws://h", "wss://h", false),
        ("ws://h:443", "wss://h", false), ("ws://h", "ws://i", false), ("ws://h", "ws://h:81", false),
        ("ws+unix:/a:/x", "ws+unix:///%61:/y", true), ("ws+unix:/a", "ws+unix:/b", false),
        ("ws+unix:/a", "ws://localhost", false), ("ws+unix:/é", "ws+unix:/e\u{301}", false),
    ])
    func sameOrigin(one: String, other: String, same: Bool) throws {
        let (one, other) = (try WebSocketURL(one), try WebSocketURL(other))
        #expect(one.isSameOrigin(as: other) == same)
        #expect(other.isSameOrigin(as: one) == same)
    }

    // MARK: - Unix sockets

    @Test(arguments: [
        ("x", "ws+unix:/s%3A.sock:/a/x"), ("/x?y", "ws+unix:/s%3A.sock:/x?y"), ("../..", "ws+unix:/s%3A.sock:/"),
        ("?y", "ws+unix:/s%3A.sock:/a/b?y"), ("", "ws+unix:/s%3A.sock:/a/b?q"),
        ("/.//x", "ws+unix:/s%3A.sock://x"), ("/etc/x.sock:/y", "ws+unix:/s%3A.sock:/etc/x.sock:/y"),
        ("ws://h/x", "ws://h/x"),
    ])
    func referenceOfAUnixSocket(reference: String, url: String) throws {
        #expect(try resolve(reference, at: "ws+unix:/s%3A.sock:/a/b?q").description == url)
    }

    @Test func aUnixSocketHasNoAuthorityToReplace() {
        let reason = "bad URL '//h/x': a server can lead to ws, wss, http and https only"
        #expect(refusal { try resolve("//h/x", at: "ws+unix:/s.sock") } == reason)
    }
}
