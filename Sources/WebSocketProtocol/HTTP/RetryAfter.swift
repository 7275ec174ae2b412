// How long a response asks to wait (RFC 9110 section 10.2.3): so many seconds, or until a date, which only the
// server's own clock can tell: its Date field.

extension HTTPHead {
    /// Seconds, 0 or more and finite; nil when the response does not ask, or in no way that can be understood.
    public var retryAfter: Double? {
        guard let value = fields["Retry-After"], !value.isEmpty else { return nil }
        if value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            // RFC 9111 section 1.2.2: 2^31 stands for all that is more.
            return value.utf8.reduce(0.0) { min($0 * 10 + Double($1 - 0x30), 0x1p31) }
        }
        // The server's year tells the century of a year of two digits; the server's own must do with ours.
        guard let now = fields["Date"].flatMap({ HTTPDate($0, near: 2026) }),
            let then = HTTPDate(value, near: now.year)
        else { return nil }
        return Double(max(then.seconds - now.seconds, 0))
    }
}

/// RFC 9110 section 5.6.7.
private struct HTTPDate {
    let year: Int
    /// Since a day long ago, the same for all dates.
    let seconds: Int

    /// IMF-fixdate, RFC 850 and asctime. Letters stand for parts, but for those of GMT.
    private static let forms = ["w, D N Y h:m:s GMT", "W, D-N-y h:m:s GMT", "w N d h:m:s Y"]
    private static let shortWeekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    init?(_ text: String, near present: Int) {
        guard let parts = Self.forms.lazy.compactMap({ Self.read(text, as: $0) }).first,
            let day = parts["D"] ?? parts["d"], let month = parts["N"], let hour = parts["h"],
            let minute = parts["m"], let second = parts["s"]
        else { return nil }
        // Of two digits the year that is at most 50 ahead, as the RFC has it.
        year = parts["Y"] ?? parts["y"].map { present + 50 - (present + 50 - $0) % 100 } ?? present
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        // 60: a leap second.
        guard (1...lengths[month]).contains(day), hour < 24, minute < 60, second <= 60 else { return nil }
        // The calendar is the same every 400 years: nothing is negative then.
        let past = year + 399
        let days = past * 365 + past / 4 - past / 100 + past / 400 + lengths[..<month].reduce(day, +)
        seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    }

    /// The parts of a text that is exactly of this form.
    private static func read(_ text: String, as form: String) -> [Character: Int]? {
        var text = text.utf8[...]
        func name(of names: [String]) -> Int? {
            guard let index = names.firstIndex(where: { text.starts(with: $0.utf8) }) else { return nil }
            text = text.dropFirst(names[index].utf8.count)
            return index
        }
        func number(_ count: Int) -> Int? {
            let digits = text.prefix(count)
            guard digits.count == count, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            text = text.dropFirst(count)
            return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        var parts: [Character: Int] = [:]
        for sign in form {
            let value: Int?
            switch sign {
            case "w": value = name(of: shortWeekdays)
            case "W": value = name(of: weekdays)
            case "N": value = name(of: months)
            case "Y": value = number(4)
            case "D", "y", "h", "m", "s": value = number(2)
            // One digit has a space in front.
            case "d": value = name(of: [" "]) == nil ? number(2) : number(1)
            default: value = text.popFirst() == sign.asciiValue ? 0 : nil
            }
            guard let value else { return nil }
            parts[sign] = value
        }
        return text.isEmpty ? parts : nil
    }
}
