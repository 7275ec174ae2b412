import Testing

@testable import WebSocketProtocol

extension WebSocketURLTests {
    @Test(arguments: [
        ("ws+unix:/run/chat.sock:/room?id=1", "/run/chat.sock", "/room?id=1", "ws+unix:/run/chat.sock:/room?id=1"),
        ("ws+unix:///run/chat.sock:/room?id=1", "/run/chat.sock", "/room?id=1", "ws+unix:/run/chat.sock:/room?id=1"),
        ("WS+Unix:/Run/A.sock:/B", "/Run/A.sock", "/B", "ws+unix:/Run/A.sock:/B"),
        // Without a path in the request.
        ("ws+unix:/a.sock", "/a.sock", "/", "ws+unix:/a.sock:/"),
        ("ws+unix:/a.sock:", "/a.sock", "/", "ws+unix:/a.sock:/"),
        ("ws+unix:/a.sock:?q", "/a.sock", "/?q", "ws+unix:/a.sock:/?q"),
        ("ws+unix:/a.sock?q:/r", "/a.sock", "/?q:/r", "ws+unix:/a.sock:/?q:/r"),
        ("ws+unix:/a.sock#f:/r", "/a.sock", "/", "ws+unix:/a.sock:/"),
        ("ws+unix:/a.sock:/r#f", "/a.sock", "/r", "ws+unix:/a.sock:/r"),
        // The first colon ends the path; slashes stay as they are.
        ("ws+unix:/a.sock:/b:c:/d@e", "/a.sock", "/b:c:/d@e", "ws+unix:/a.sock:/b:c:/d@e"),
        ("ws+unix:////a//b:///c", "//a//b", "///c", "ws+unix:////a//b:///c"),
        ("ws+unix:/a.sock:/%20é", "/a.sock", "/%20%C3%A9", "ws+unix:/a.sock:/%20%C3%A9"),
        // Escapes in the path.
        (
            "ws+unix:/a%3Ab%25%3f%23%20%0a%40.sock:/%3A", "/a:b%?# \n@.sock", "/%3A",
            "ws+unix:/a%3Ab%25%3F%23%20%0A%40.sock:/%3A"
        ),
        ("ws+unix:/%c3%a9é.sock", "/éé.sock", "/", "ws+unix:/%C3%A9%C3%A9.sock:/"),
        ("ws+unix:%2fa.sock", "/a.sock", "/", "ws+unix:/a.sock:/"),
        ("ws+unix:/a!$&'*+-._~^`|\\.sock", "/a!$&'*+-._~^`|\\.sock", "/", "ws+unix:/a!$&'*+-._~%5E%60%7C%5C.sock:/"),
    ])
    func unixSocket(text: String, path: String, target: String, description: String) throws {
        let url = try WebSocketURL(text)
        #expect(url.socketPath == path)
        #expect(url.target == target)
        #expect(url.host == "localhost" && url.authority == "localhost")
        #expect(!url.isSecure && url.userInfo == nil)
        #expect(url.description == description)
        #expect(try WebSocketURL(description) == url)
    }

    @Test func overTCPThereIsNoSocketPath() throws {
        #expect(try WebSocketURL("ws://h/a.sock:/b").socketPath == nil)
        #expect(try WebSocketURL("ws://h/").description == "ws://h/")
    }

    @Test(arguments: [
        ("ws+unix:", "it has no socket's path; write ws+unix:/path.sock:/request"),
        ("ws+unix://", "it has no socket's path; write ws+unix:/path.sock:/request"),
        ("ws+unix::/r", "it has no socket's path; write ws+unix:/path.sock:/request"),
        ("ws+unix:?q", "it has no socket's path; write ws+unix:/path.sock:/request"),
        ("ws+unix:a.sock:/r", "the socket's path must begin with a slash, as in ws+unix:/path.sock:/request"),
        ("ws+unix:./a.sock", "the socket's path must begin with a slash, as in ws+unix:/path.sock:/request"),
        ("ws+unix://h/a.sock:/r", "the socket's path must begin with a slash, as in ws+unix:/path.sock:/request"),
        ("ws+unix:/a%00.sock", "the socket's path has a NUL"),
        ("ws+unix:%00a", "the socket's path must begin with a slash, as in ws+unix:/path.sock:/request"),
        ("ws+unix:/a%", "the socket's path has a bad %-escape"),
        ("ws+unix:/a%3:/r", "the socket's path has a bad %-escape"),
        ("ws+unix:/a%zz:/r", "the socket's path has a bad %-escape"),
        ("ws+unix:/a%ff:/r", "the socket's path has a bad %-escape"),
        ("ws+unix:/a:b.sock:/r", "behind the socket's path and a colon the request must begin with a slash"),
        ("ws+unix:/a::/r", "behind the socket's path and a colon the request must begin with a slash"),
        ("ws+unix:/a:\u{301}/r", "behind the socket's path and a colon the request must begin with a slash"),
        ("ws+unix:/a:/%2", "it has a % that is not followed by two hex digits"),
        ("ws+unix:/a b", "it has a space or a control character; write them as %20 and the like"),
        ("ws+unix/a", "it has no scheme; it must begin with ws:// or wss://"),
        ("wss+unix:///a", "the scheme is 'wss+unix'; it must be ws, wss, http, https or ws+unix"),
    ])
    func badUnixSocket(text: String, reason: String) {
        #expect(refusal { try WebSocketURL(text) } == "bad URL '\(text)': \(reason)")
    }

    @Test func aSocketPathHasAtMost107Bytes() throws {
        // The limit counts decoded bytes.
        let path = "/" + String(repeating: "%3A", count: 106)
        #expect(try WebSocketURL("ws+unix:\(path):/").socketPath?.utf8.count == 107)
        let text = "ws+unix:/" + String(repeating: "a", count: 107)
        let reason = "bad URL '\(text)': the socket's path is longer than 107 bytes"
        #expect(refusal { try WebSocketURL(text) } == reason)
    }
}
