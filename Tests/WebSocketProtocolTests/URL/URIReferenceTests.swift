import Testing

@testable import WebSocketProtocol

@Suite struct URIReferenceTests {
    @Test(
        arguments: [
            ("", nil, nil, "", nil),
            ("http://u@h:1/p/q?a?b#f#g", "http", "u@h:1", "/p/q", "a?b"),
            ("http://h", "http", "h", "", nil), ("http://h?q", "http", "h", "", "q"),
            ("http://h#f", "http", "h", "", nil),
            ("a:b:c", "a", nil, "b:c", nil), (":b", "", nil, "b", nil),
            ("//h/p", nil, "h", "/p", nil), ("///p", nil, "", "/p", nil), ("//", nil, "", "", nil),
            ("/p:q", nil, nil, "/p:q", nil), ("p/q:r", nil, nil, "p/q:r", nil), ("?", nil, nil, "", ""),
            ("?a:b//c", nil, nil, "", "a:b//c"), ("#a:b?c", nil, nil, "", nil), ("p?", nil, nil, "p", ""),
            // A combining mark after a delimiter.
            ("a:\u{301}b", "a", nil, "\u{301}b", nil), ("//h/\u{301}@x", nil, "h", "/\u{301}@x", nil),
            ("p?\u{301}q", nil, nil, "p", "\u{301}q"), ("p#\u{301}?q", nil, nil, "p", nil),
        ] as [(String, String?, String?, String, String?)])
    func parts(text: String, scheme: String?, authority: String?, path: String, query: String?) {
        let reference = URIReference(text[...])
        #expect(reference.scheme.map(String.init) == scheme)
        #expect(reference.authority.map(String.init) == authority)
        #expect(reference.path == path)
        #expect(reference.query.map(String.init) == query)
    }
}
