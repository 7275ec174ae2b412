// The Retry-After field of a response (RFC 9110 section 10.2.3): seconds, or a date. A date is compared with the
// response's Date field, because the server's clock counts, not ours. Pure; used on the loop thread by
// ConnectAttempt.

extension HTTPHead {
    /// Seconds to wait, 0 or more and finite; nil without the field, or if it is malformed.
    public var retryAfter: Double? {
        guard let value = fields["Retry-After"], !value.isEmpty else { return nil }
        if value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            // RFC 9111 section 1.2.2: a larger number counts as 2^31.
            return value.utf8.reduce(0.0) { min($0 * 10 + Double($1 - 0x30), 0x1p31) }
        }
        // A year of two digits gets the century of the Date field's year; for the Date field itself this century is
        // assumed.
        guard let now = fields["Date"].flatMap({ HTTPDate($0, near: 2026) }),
            let then = HTTPDate(value, near: now.year)
        else { return nil }
        return Double(max(then.seconds - now.seconds, 0))
    }
}

/// A date of RFC 9110 section 5.6.7.
private struct HTTPDate {
    let year: Int
    /// Seconds since a fixed day in the past.
    let seconds: Int

    /// IMF-fixdate, RFC 850 and asctime. Each letter stands for a part (`read`); "GMT" stands for itself.
    private static let forms = ["w, D N Y h:m:s GMT", "W, D-N-y h:m:s GMT", "w N d h:m:s Y"]
    private static let shortWeekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    init?(_ text: String, near present: Int) {
        guard let parts = Self.forms.lazy.compactMap({ Self.read(text, as: $0) }).first,
            let day = parts["D"] ?? parts["d"], let month = parts["N"], let hour = parts["h"],
            let minute = parts["m"], let second = parts["s"]
        else { return nil }
        // A year of two digits is at most 50 years ahead, as the RFC says.
        year = parts["Y"] ?? parts["y"].map { present + 50 - (present + 50 - $0) % 100 } ?? present
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        // A leap second is 60.
        guard (1...lengths[month]).contains(day), hour < 24, minute < 60, second <= 60 else { return nil }
        // The calendar repeats every 400 years; adding almost that avoids negative numbers.
        let past = year + 399
        let days = past * 365 + past / 4 - past / 100 + past / 400 + lengths[..<month].reduce(day, +)
        seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    }

    /// The parts of a text that has exactly this form.
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
            // asctime writes a day of one digit with a space before it.
            case "d": value = name(of: [" "]) == nil ? number(2) : number(1)
            default: value = text.popFirst() == sign.asciiValue ? 0 : nil
            }
            guard let value else { return nil }
            parts[sign] = value
        }
        return text.isEmpty ? parts : nil
    }
}
