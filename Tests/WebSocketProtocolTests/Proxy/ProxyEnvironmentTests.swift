import Testing

@testable import WebSocketProtocol

@Suite struct ProxyEnvironmentTests {
    // MARK: - Which variable

    /// The variables for each scheme, in the order in which they count.
    private static let ws = ["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"]
    private static let wss = ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]

    @Test(arguments: [("ws://h/", ws), ("http://h/", ws), ("wss://h/", wss), ("https://h/", wss)])
    func theFirstThatIsSet(url: String, names: [String]) throws {
        for first in names.indices {
            let later = names[first...]
            #expect(try proxy(url, byName(later)) == "http://\(names[first].lowercased()):\(later.count)")
            // An empty variable counts as not set.
            var variables = byName(later)
            for name in names[..<first] { variables[name] = "" }
            #expect(try proxy(url, variables) == "http://\(names[first].lowercased()):\(later.count)")
        }
        #expect(try proxy(url, [:]) == nil)
        #expect(try proxy(url, Dictionary(uniqueKeysWithValues: names.map { ($0, "") })) == nil)
    }

    /// A different proxy for each of the variables.
    private func byName(_ names: some Collection<String>) -> [String: String] {
        Dictionary(uniqueKeysWithValues: zip(names, (1...names.count).reversed()).map { ($0, "\($0):\($1)") })
    }

    @Test func otherVariablesAreIgnored() throws {
        // In a CGI program HTTP_PROXY is the value of the request's field Proxy.
        let others = ["HTTP_PROXY", "Http_Proxy", "proxy", "ftp_proxy", "All_Proxy"]
        #expect(try proxy("ws://h/", byName(others + Self.wss.prefix(4))) == nil)
        #expect(try proxy("wss://h/", byName(others + Self.ws.prefix(3))) == nil)
    }

    @Test func theVariablesAreReadOnce() throws {
        var value = "a"
        let environment = ProxyEnvironment { $0 == "all_proxy" ? Array(value.utf8) : nil }
        value = "b"
        #expect(try environment.proxy(for: WebSocketURL("ws://h/"))?.host == "a")
    }

    @Test func allOfTheProxyIsRead() throws {
        let environment = ProxyEnvironment { $0 == "wss_proxy" ? Array("socks5h://u:p@[::1]:9".utf8) : nil }
        let proxy = try environment.proxy(for: WebSocketURL("wss://h/"))
        #expect(try proxy == Proxy("socks5h://u:p@[::1]:9"))
    }

    @Test func aBadProxyIsNamed() throws {
        let reason = "bad proxy 'https://…@p': the scheme is 'https'; it must be http, socks5 or socks5h"
        for name in ["WS_PROXY", "http_proxy", "ALL_PROXY"] {
            #expect(throws: Proxy.Failure(reason: "the environment's \(name): \(reason)")) {
                try proxy("ws://h/", [name: "https://u:secret@p"])
            }
        }
        // A bad proxy that is not used is no error.
        #expect(try proxy("ws://h/", ["http_proxy": "https://p", "no_proxy": "h"]) == nil)
        #expect(try proxy("ws://h/", ["http_proxy": "p", "all_proxy": "https://p"]) == "http://p:1080")
    }

    /// GNOME sets `all_proxy=socks://host:port/`. Chromium takes it for SOCKS5, too; Python's websockets also lets
    /// the proxy resolve the name.
    @Test(arguments: ["socks://u:p@h:1/", "SOCKS://u:p@h:1"], ["all_proxy", "ALL_PROXY", "ws_proxy", "http_proxy"])
    func theSchemeSocksMeansSocks5h(text: String, name: String) throws {
        let environment = ProxyEnvironment { $0 == name ? Array(text.utf8) : nil }
        let proxy = try environment.proxy(for: WebSocketURL("ws://server.test/"))
        #expect(try proxy == Proxy("socks5h://u:p@h:1"))
    }

    @Test func aBadSOCKSProxyIsShownAsItIsSet() throws {
        let reason =
            "the environment's all_proxy: bad proxy 'socks://h:x': 'x' is not a port; "
            + "it must be a number from 1 to 65535"
        #expect(throws: Proxy.Failure(reason: reason)) { try proxy("ws://h/", ["all_proxy": "socks://h:x"]) }
    }

    // MARK: - This machine

    /// Go's net/http and Chromium use no proxy for localhost, 127.0.0.0/8 and ::1, also with a dot at the end or
    /// mapped to IPv6; Chromium and Firefox use none for subdomains of localhost. The short forms are those that the
    /// resolver accepts.
    @Test(arguments: [
        "localhost", "LOCALHOST", "localhost.", "x.localhost", "a.b.localhost.", "127.0.0.1", "127.0.0.1.",
        "127.255.255.255", "127.1", "0x7f.0.0.1", "0177.1", "2130706433", "[::1]", "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f01:203]",
    ])
    func thisMachineIsReachedWithoutAProxy(host: String) throws {
        for url in ["ws://\(host)/", "wss://\(host):8443/"] {
            #expect(try proxy(url, ["all_proxy": "p"]) == nil)
            // A bad proxy is not reported then.
            #expect(try proxy(url, ["all_proxy": "socks4://p", "no_proxy": "x"]) == nil)
        }
    }

    @Test(arguments: [
        "localhost.test", "notlocalhost", "local", "127.0.0.1.test", "128.0.0.1", "126.255.255.255", "1.0.0.127",
        "0.0.0.0", "10.0.0.1", "169.254.0.1", "2130706432.test", "[::2]", "[::]", "[1::1]", "[::127.0.0.1]",
        "[::ffff:128.0.0.1]", "[::fffe:127.0.0.1]", "[7f00::]",
    ])
    func otherHostsAreReachedThroughTheProxy(host: String) throws {
        #expect(try proxy("ws://\(host)/", ["all_proxy": "p"]) == "http://p:1080")
    }

    // MARK: - no_proxy

    @Test(arguments: [
        ("*", "ws://h/"),
        // Names and their subdomains.
        ("example.com", "ws://example.com/"), ("example.com", "ws://www.example.com/"),
        ("example.com", "ws://a.b.example.com/"), (".example.com", "ws://example.com/"),
        (".example.com", "ws://www.example.com/"), ("com", "ws://example.com/"), ("server", "ws://server/"),
        ("EXAMPLE.com", "ws://example.COM/"), ("example.com.", "ws://example.com/"),
        ("example.com", "ws://example.com./"), (".example.com.", "ws://www.example.com./"),
        // Lists.
        ("a,b", "ws://a/"), ("a,b", "ws://b/"), ("a b", "ws://a/"), ("a b", "ws://b/"), ("a\tb", "ws://b/"),
        (" a , b ,", "ws://b/"), (",, ,b", "ws://b/"), ("a,\t b", "ws://b/"), ("a.b.c,%,[,x y,b", "ws://b/"),
        // Ports.
        ("h:8080", "ws://h:8080/"), ("h:80", "ws://h/"), ("h:443", "wss://h/"), ("h:0080", "ws://h/"),
        (".example.com:81", "wss://a.example.com:81/"), ("h:", "ws://h:8080/"), ("h", "ws://h:8080/"),
        ("h:1,h:2", "ws://h:2/"), ("192.0.2.1:80", "ws://192.0.2.1/"), ("[::2]:80", "ws://[::2]/"),
        // Addresses.
        ("192.0.2.1", "ws://192.0.2.1/"), ("192.0.2.1.", "ws://192.0.2.1/"), ("192.0.2.1", "ws://192.0.2.1./"),
        ("::2", "ws://[::2]/"), ("[::2]", "ws://[::2]/"),
        ("0:0:0:0:0:0:0:2", "ws://[::2]/"), ("[0:0::2]", "ws://[0::0:2]/"), ("2001:DB8::A", "ws://[2001:db8:0::a]/"),
        ("::ffff:1.2.3.4", "ws://[::ffff:102:304]/"),
        // Blocks.
        ("10.0.0.0/8", "ws://10.1.2.3/"), ("10.9.9.9/8", "ws://10.1.2.3/"), ("10.1.2.3/32", "ws://10.1.2.3/"),
        ("10.1.2.2/31", "ws://10.1.2.3/"), ("192.168.0.0/17", "ws://192.168.127.255/"), ("0.0.0.0/0", "ws://1.2.3.4/"),
        ("fd00::/8", "ws://[fdff::1]/"), ("fe80::/10", "ws://[febf::1]/"), ("::/0", "ws://[1::]/"),
        ("::2/128", "ws://[::2]/"), ("2001:db8::/33", "ws://[2001:db8:7fff::]/"), ("x,10.0.0.0/8", "ws://10.1.2.3/"),
    ])
    func exempt(list: String, url: String) throws {
        for name in ["no_proxy", "NO_PROXY"] {
            #expect(try proxy(url, ["all_proxy": "p", name: list]) == nil)
        }
    }

    @Test(arguments: [
        ("example.com", "ws://notexample.com/"), (".example.com", "ws://notexample.com/"),
        ("example.com", "ws://example.com.org/"), ("www.example.com", "ws://example.com/"),
        ("example", "ws://example.com/"), ("example.com", "ws://com/"),
        // Only a single star means all hosts.
        ("*.example.com", "ws://www.example.com/"), ("a,*", "ws://h/"), ("* ", "ws://h/"), ("*:80", "ws://h/"),
        // Ports.
        ("h:8080", "ws://h/"), ("h:8080", "ws://h:80/"), ("h:80", "wss://h/"), ("192.0.2.1:81", "ws://192.0.2.1/"),
        ("[::2]:81", "ws://[::2]/"), ("::2:80", "ws://[::2]/"),
        // An address matches no name, a name no address.
        ("1", "ws://192.0.2.1/"), ("0.2.1", "ws://192.0.2.1/"), (".0.2.1", "ws://192.0.2.1/"),
        (".192.0.2.1", "ws://192.0.2.1/"), ("192.0.2.1", "ws://server/"), ("192.0.2.1", "ws://x.192.0.2.1/"),
        ("0.0.0.0/0", "ws://server/"), ("::/0", "ws://server/"), ("::2", "ws://2.test/"),
        // IPv4 does not match IPv6.
        ("0.0.0.0/0", "ws://[::2]/"), ("::/0", "ws://1.2.3.4/"), ("1.2.3.4", "ws://[::ffff:1.2.3.4]/"),
        // Blocks.
        ("10.0.0.0/8", "ws://11.0.0.0/"), ("10.1.2.2/32", "ws://10.1.2.3/"), ("10.1.2.4/31", "ws://10.1.2.3/"),
        ("192.168.0.0/17", "ws://192.168.128.0/"), ("fd00::/8", "ws://[fc00::1]/"), ("fe80::/10", "ws://[fec0::1]/"),
        ("::3/128", "ws://[::2]/"), ("::/127", "ws://[::2]/"),
        // Malformed.
        ("10.0.0.0/33", "ws://10.0.0.0/"), ("10.0.0.0/-1", "ws://10.0.0.0/"), ("10.0.0.0/+8", "ws://10.0.0.0/"),
        ("10.0.0.0/", "ws://10.0.0.0/"), ("10.0.0.0/8/8", "ws://10.0.0.0/"), ("10.0.0.0/x", "ws://10.0.0.0/"),
        ("10.0.0.0/99999999999999999999", "ws://10.0.0.0/"), ("10/8", "ws://10.0.0.0/"), ("::/129", "ws://[::]/"),
        ("10.0.0.0/8:80", "ws://10.0.0.0/"), ("[fd00::]/8", "ws://[fd00::]/"), ("[::2", "ws://[::2]/"),
        ("::2]", "ws://[::2]/"), ("[10.0.0.0]", "ws://10.0.0.0/"), ("h:x", "ws://h/"), ("h:0", "ws://h/"),
        ("h:65616", "ws://h/"), ("u@h", "ws://h/"), ("http://h", "ws://h/"), ("h/", "ws://h/"), ("h/8", "ws://h/"),
        (".", "ws://h/"), (".", "ws://h./"), ("..", "ws://h./"), (":80", "ws://h/"),
        ("..h", "ws://h/"),
        (",", "ws://h/"), (" ", "ws://h/"), ("", "ws://h/"), ("\u{212A}", "ws://k/"), ("h\u{301}", "ws://h/"),
    ])
    func notExempt(list: String, url: String) throws {
        for name in ["no_proxy", "NO_PROXY"] {
            #expect(try proxy(url, ["all_proxy": "p", name: list]) == "http://p:1080")
        }
    }

    @Test func aProxyThatIsNotUTF8IsAnError() throws {
        let proxy = "http://u:p\u{E4}ss@p".unicodeScalars.map { UInt8($0.value) }
        let environment = ProxyEnvironment { $0 == "ws_proxy" ? proxy : nil }
        #expect(throws: Proxy.Failure(reason: "the environment's ws_proxy is not UTF-8")) {
            try environment.proxy(for: WebSocketURL("ws://h/"))
        }
        // Another host of the list may be.
        let exempt = ProxyEnvironment { $0 == "ws_proxy" ? proxy : $0 == "no_proxy" ? [0xE4, 0x2C, 0x68] : nil }
        #expect(try exempt.proxy(for: WebSocketURL("ws://h/")) == nil)
    }

    @Test func theLowerCaseNameComesFirst() throws {
        #expect(try proxy("ws://a/", ["all_proxy": "p", "no_proxy": "a", "NO_PROXY": "b"]) == nil)
        #expect(try proxy("ws://b/", ["all_proxy": "p", "no_proxy": "a", "NO_PROXY": "b"]) == "http://p:1080")
        #expect(try proxy("ws://b/", ["all_proxy": "p", "no_proxy": "", "NO_PROXY": "b"]) == nil)
    }

    // MARK: -

    private func proxy(_ url: String, _ variables: [String: String]) throws -> String? {
        try ProxyEnvironment { variables[$0].map { Array($0.utf8) } }.proxy(for: WebSocketURL(url))?.description
    }
}
