import Testing

@testable import WebSocketProtocol

@Suite struct HeaderFieldsTests {
    private var fields: HeaderFields {
        var fields = HeaderFields()
        fields.append("Host", "a")
        fields.append("X-List", "1")
        fields.append("x-LIST", "2")
        return fields
    }

    @Test func cookiesAreNotJoinedWithCommas() {
        var fields = HeaderFields()
        fields.append("Set-Cookie", "a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT")
        fields.append("set-cookie", "b=2")
        fields.append("X", "1")
        fields.append("x", "2")
        #expect(fields["set-cookie"] == "a=1; Expires=Thu, 01 Jan 2026 00:00:00 GMT\nb=2")
        #expect(fields["X"] == "1, 2")
    }

    @Test func eachNameOnce() {
        let fields = Sample.fields([
            ("X-A", "1"), ("set-cookie", "a=1"), ("x-a", "2"), ("Y", ""), ("Set-Cookie", "b=2"), ("X-B", "3"),
        ])
        let joined = fields.joined.sorted { $0.name < $1.name }
        #expect(joined.map(\.name) == ["set-cookie", "x-a", "x-b", "y"])
        #expect(joined.map(\.value) == ["a=1\nb=2", "1, 2", "3", ""])
        #expect(joined.allSatisfy { fields[$0.name] == $0.value })
        #expect(HeaderFields().joined.isEmpty)
    }

    @Test func namesAreEqualInAnyCase() {
        #expect(fields["host"] == "a")
        #expect(fields["HOST"] == "a")
        #expect(fields["hos"] == nil)
    }

    @Test func severalLinesMakeOneList() {
        #expect(fields.values("X-List") == ["1", "2"])
        #expect(fields["X-List"] == "1, 2")
        #expect(fields.values("Cookie") == [])
    }

    @Test func theOrderIsKept() {
        #expect(fields.fields.map(\.name) == ["Host", "X-List", "x-LIST"])
        #expect(fields == fields)
        var other = fields
        other.append("A", "b")
        #expect(other != fields)
        var first = HeaderFields()
        var second = HeaderFields()
        first.append("A", "b")
        second.append("A", "c")
        #expect(first != second)
    }

    @Test func credentialsStayWithTheirOrigin() {
        let all = [
            ("Authorization", "a"), ("X-A", "1"), ("PROXY-authorization", "b"), ("cookie", "c"), ("Cookie2", "2"),
            ("Cookie", "d"), ("Host", "h"), ("User-Agent", "u"), ("X-A", "3"),
        ]
        let others = [("X-A", "1"), ("Cookie2", "2"), ("User-Agent", "u"), ("X-A", "3")]
        #expect(Sample.fields(all).withoutCredentials() == Sample.fields(others))
    }

    @Test(arguments: ["upgrade", "Upgrade", "keep-alive, Upgrade", "a,\tUPGRADE ,b", ",,upgrade"])
    func listWithAnElement(value: String) {
        var fields = HeaderFields()
        fields.append("Connection", "x")
        fields.append("connection", value)
        #expect(fields.list("Connection", contains: "upgrade"))
    }

    @Test(arguments: ["", "upgrade2", "keep-alive", "up grade", "upgrade;a", "\"upgrade\""])
    func listWithoutTheElement(value: String) {
        var fields = HeaderFields()
        fields.append("Connection", value)
        #expect(!fields.list("Connection", contains: "upgrade"))
    }

    @Test(arguments: [("a", "a"), (" \ta b\t ", "a b"), ("", ""), (" \t", ""), ("\u{A0}a", "\u{A0}a")])
    func trimming(text: String, trimmed: String) {
        #expect(trim(text[...]) == trimmed)
    }

    @Test func tokens() {
        let allowed = (UInt8.min...UInt8.max).filter(isTokenByte)
        #expect(
            String(decoding: allowed, as: UTF8.self)
                == "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~")
        #expect(isToken("chat.v1"))
        for text in ["", "a b", "a,b", "é", "a\r\n"] { #expect(!isToken(text)) }
    }

    @Test func fieldValues() {
        for text in ["", "a b", "a\tb", "é", "\"x\""] { #expect(isFieldValue(text)) }
        for text in ["a\r\nb", "\n", "\u{0}", "\u{7F}", "\u{1F}"] { #expect(!isFieldValue(text)) }
    }

    // MARK: - RFC 6455 section 9.1

    struct Extension: Equatable {
        var name: String
        var parameters: [ExtensionParameter] = []
    }

    @Test func extensionLists() throws {
        #expect(try read("a") == [Extension(name: "a")])
        #expect(try read(" a\t,b ") == [Extension(name: "a"), Extension(name: "b")])
        let two = [ExtensionParameter(name: "x", value: nil), ExtensionParameter(name: "y", value: "1")]
        #expect(try read("a; x; y=1") == [Extension(name: "a", parameters: two)])
        #expect(
            try read("a;x;y=1, a ; x ; y = \"1\"")
                == [Extension](repeating: .init(name: "a", parameters: two), count: 2))
    }

    /// RFC 9110 section 5.6.1.2.
    @Test(arguments: ["a,,b", "a,b,", " , a ,\t, b ,,", ",a,b"]) func emptyElementsAreNone(text: String) throws {
        #expect(try read(text) == [Extension(name: "a"), Extension(name: "b")])
    }

    @Test(arguments: ["", " ", "\t", ",", ", ,"]) func anEmptyListHasNoElements(text: String) throws {
        #expect(try read(text) == [])
    }

    @Test func quotedValuesAreTokensOnceUnquoted() throws {
        let one = [Extension(name: "a", parameters: [ExtensionParameter(name: "x", value: "10")])]
        #expect(try read("a; x=\"10\"") == one)
        #expect(try read("a; x=\"\\1\\0\"") == one)
    }

    @Test(arguments: [
        ",a/b", "a;", "a;,b", "a,;b", "a; x=,b", "a; ;b", "a; x=", "a; =1", "a b", "a; x y",
        "a; x=1 2", "a/b",
        "a; x=\"",
        "a; x=\"1", "a; x=\"1\\", "a; x=\"1\"2", "a; x=\"\"", "a; x=\" 1\"", "a; x=\"1,2\"", "a; x=\"é\"",
        "a; x=\"\\é\"",
        "é", "a; x==1",
    ])
    func malformedExtensionList(text: String) {
        #expect(parseExtensions(text) == nil)
    }

    private func read(_ text: String) throws -> [Extension] {
        try #require(parseExtensions(text)).map { Extension(name: $0.name, parameters: $0.parameters) }
    }
}
