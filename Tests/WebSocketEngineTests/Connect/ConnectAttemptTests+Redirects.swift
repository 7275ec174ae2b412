import CLinux
import Glibc
import Testing

@testable import WebSocketEngine
@testable import WebSocketProtocol

extension ConnectAttemptTests {
    private func redirect(_ location: String) -> String {
        "HTTP/1.1 302 Found\r\nLocation: \(location)\r\nContent-Length: 0\r\n\r\n"
    }

    private func headers(_ options: inout Options) throws {
        try options.addHeader("Authorization", "secret")
        try options.addHeader("Cookie", "secret")
        try options.addHeader("X-Other", "kept")
    }

    @Test func theSameOriginGetsTheCredentialsAgain() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/a", headers)
        let first = try server.accept(test.loop)
        #expect(try first.receiveRequest(test.loop).contains("secret"))
        first.send(redirect("/b"))
        let second = try server.accept(test.loop)
        try first.receiveEnd(test.loop)
        let request = try second.acceptHandshake(test.loop)
        #expect(request.hasPrefix("GET /b ") && request.contains("Authorization: secret\r\nCookie: secret\r\n"))
        _ = try test.awaitConnection()
        #expect(test.info.text("url") == "ws://127.0.0.1:\(server.port)/b")
    }

    @Test func anotherOriginGetsNoCredentials() throws {
        let server = try Listener()
        let other = try Listener()
        let test = try TestAttempt("ws://user:secret@127.0.0.1:\(server.port)/a") {
            try $0.addHeader("Cookie", "secret")
            try $0.addHeader("X-Other", "kept")
        }
        let first = try server.accept(test.loop)
        #expect(try first.receiveRequest(test.loop).contains("secret"))
        first.send(redirect("ws://127.0.0.1:\(other.port)/b"))
        let second = try other.accept(test.loop)
        let request = try second.receiveRequest(test.loop)
        #expect(!request.contains("secret") && !request.contains("Authorization") && request.contains("X-Other: kept"))
        // Back where it began, they are sent again.
        second.send(redirect("ws://127.0.0.1:\(server.port)/c"))
        let third = try server.accept(test.loop)
        #expect(try third.acceptHandshake(test.loop).contains("Cookie: secret"))
        _ = try test.awaitConnection()
    }

    @Test func redirectsAreLimited() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/") { $0.maxRedirects = 2 }
        for _ in 0...2 {
            let peer = try server.accept(test.loop)
            _ = try peer.receiveRequest(test.loop)
            peer.send(redirect("/"))
        }
        let failure = try test.awaitFailure()
        #expect(failure.kind == "handshake" && !failure.isPermanent && failure.response?.status == 302)
        #expect(failure.reason.hasSuffix("and maxredirects is 2"))
    }

    @Test(arguments: [("Server: x", "without saying where to"), ("Location: ftp://a/", "and leads to a bad URL: ")])
    func aRedirectToNowhereFails(_ field: String, _ words: String) throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/")
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        peer.send("HTTP/1.1 302 Found\r\n\(field)\r\nContent-Length: 0\r\n\r\n")
        #expect(try test.awaitFailure().reason.contains(words))
    }

    @Test func oneTimeLimitHoldsForAllRedirects() throws {
        let server = try Listener()
        let test = try TestAttempt("ws://127.0.0.1:\(server.port)/") { $0.connectTimeout = 10 }
        for _ in 0..<3 {
            let peer = try server.accept(test.loop)
            _ = try peer.receiveRequest(test.loop)
            test.loop.pass(3)
            peer.send(redirect("/"))
        }
        let peer = try server.accept(test.loop)
        _ = try peer.receiveRequest(test.loop)
        test.loop.pass(0.99)
        #expect(!test.isOver)
        test.loop.pass(0.01)
        #expect(test.failure?.kind == "timeout")
    }
}
