import Testing

@testable import WebSocketProtocol

@Suite struct RetryAfterTests {
    private func retryAfter(_ value: String?, date: String? = "Sun, 06 Nov 1994 08:49:37 GMT") -> Double? {
        var head = HTTPHead()
        head.startLine = "HTTP/1.1 503 Service Unavailable"
        if let value { head.fields.append("Retry-After", value) }
        if let date { head.fields.append("Date", date) }
        return head.retryAfter
    }

    @Test(
        arguments: [
            ("0", 0), ("1", 1), ("120", 120), ("0000007", 7), ("2147483647", 2_147_483_647),
            ("2147483648", 2_147_483_648),
            ("2147483649", 2_147_483_648), ("99999999999999999999", 2_147_483_648),
            ("9" + String(repeating: "0", count: 60_000), 2_147_483_648),
        ] as [(String, Double)])
    func seconds(value: String, seconds: Double) {
        #expect(retryAfter(value) == seconds)
        #expect(retryAfter(value, date: nil) == seconds)
    }

    @Test(arguments: ["", " ", "-1", "+1", "1.5", "1e3", "1 s", "٣", "soon", "1, 2"]) func notSeconds(value: String) {
        #expect(retryAfter(value) == nil)
    }

    @Test func aResponseThatDoesNotAsk() { #expect(retryAfter(nil) == nil) }

    @Test func askedTwice() {
        var head = HTTPHead()
        head.fields.append("Retry-After", "1")
        head.fields.append("Retry-After", "1")
        #expect(head.retryAfter == nil)
    }

    // MARK: - Dates

    /// Dates, and their distance in days and seconds from Sun, 06 Nov 1994 08:49:37 GMT.
    @Test(
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0), ("Sun, 06 Nov 1994 08:49:38 GMT", 0, 1),
            ("Sun, 06 Nov 1994 08:50:37 GMT", 0, 60), ("Sun, 06 Nov 1994 09:49:37 GMT", 0, 3600),
            ("Sun, 06 Nov 1994 23:59:60 GMT", 0, 54_623), ("Mon, 07 Nov 1994 08:49:37 GMT", 1, 0),
            ("Tue, 06 Dec 1994 08:49:37 GMT", 30, 0), ("Fri, 06 Jan 1995 08:49:37 GMT", 61, 0),
            ("Mon, 06 Nov 1995 08:49:37 GMT", 365, 0), ("Wed, 06 Nov 1996 08:49:37 GMT", 731, 0),
            ("Mon, 06 Nov 2000 08:49:37 GMT", 2192, 0), ("Sat, 06 Nov 2100 08:49:37 GMT", 38_716, 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 2_923_821, 54_622),
            // In the past.
            ("Sun, 06 Nov 1994 08:49:36 GMT", 0, 0), ("Sat, 01 Jan 0000 00:00:00 GMT", 0, 0),
            // RFC 850.
            ("Sunday, 06-Nov-94 08:49:38 GMT", 0, 1), ("Monday, 06-Nov-95 08:49:37 GMT", 365, 0),
            ("Monday, 06-Nov-00 08:49:37 GMT", 2192, 0), ("Sunday, 06-Nov-44 08:49:37 GMT", 18_263, 0),
            ("Monday, 06-Nov-45 08:49:37 GMT", 0, 0), ("Saturday, 06-Nov-93 08:49:37 GMT", 0, 0),
            // asctime.
            ("Sun Nov  6 08:49:38 1994", 0, 1), ("Sun Nov 16 08:49:37 1994", 10, 0),
            ("Sun Nov 06 08:49:38 1994", 0, 1),
        ] as [(String, Int, Int)])
    func date(value: String, days: Int, seconds: Int) {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        ] {
            #expect(retryAfter(value, date: date) == Double(days * 86_400 + seconds), "\(date)")
        }
        #expect(retryAfter(value, date: nil) == nil)
        #expect(retryAfter(value, date: "now") == nil)
    }

    @Test func theCenturyOfADateField() {
        #expect(retryAfter("Thu, 01 Jan 2026 00:00:01 GMT", date: "Thursday, 01-Jan-26 00:00:00 GMT") == 1)
        #expect(retryAfter("Fri, 01 Jan 2076 00:00:01 GMT", date: "Wednesday, 01-Jan-76 00:00:00 GMT") == 1)
        #expect(retryAfter("Sat, 01 Jan 1977 00:00:01 GMT", date: "Saturday, 01-Jan-77 00:00:00 GMT") == 1)
    }

    /// 1996 and 2000 are leap years, 1900 and 1995 are not.
    @Test(arguments: [(1996, 366), (1900, 365), (2000, 366), (1995, 365)])
    func everyDayOfAYear(year: Int, days: Int) {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let start = "Mon, 01 Jan \(year) 00:00:00 GMT"
        let dates = months.flatMap { month in
            (0...32).map { "Mon, \($0 < 10 ? "0" : "")\($0) \(month) \(year) 00:00:00 GMT" }
        }
        #expect(dates.compactMap { retryAfter($0, date: start) } == (0..<days).map { Double($0 * 86_400) })
        #expect(retryAfter("Mon, 01 Jan \(year + 1) 00:00:00 GMT", date: start) == Double(days * 86_400))
    }

    @Test(arguments: [
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1994 08:49:37 GMTx", "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1994 08.49.37 GMT", "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT", "Sun, 06 Nov 19940 08:49:37 GMT", "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994", "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT", "Someday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 94", "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov   6 08:49:37 1994", "Sun, Nov  6 08:49:37 1994", "Sun Nov  0 08:49:37 1994", "Sun, 06 Nov 199",
        "Sun, ", "Sun", "1994-11-06T08:49:37Z", "Sun, 99 Nov 9999 99:99:99 GMT",
    ])
    func malformedDate(value: String) {
        #expect(retryAfter(value) == nil)
        #expect(retryAfter("Sun, 06 Nov 1994 08:49:37 GMT", date: value) == nil)
    }
}
