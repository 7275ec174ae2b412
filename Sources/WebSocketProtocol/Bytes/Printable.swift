// Texts of others in messages for people: error texts and lines for debugging.

/// A text for people: what would play with their terminal is a question mark.
public func replacingControlCharacters(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "?" : $0 }))
}

/// C0, DEL and C1.
private func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) }

/// A script's or a peer's text for an error message: no control characters, not endless.
public func quotedForError(_ text: some StringProtocol) -> String {
    // Cut first: the text may be as large as memory allows.
    let scalars = text.unicodeScalars
    let clean = replacingControlCharacters(String(String.UnicodeScalarView(scalars.prefix(200))))
    return scalars.dropFirst(200).isEmpty ? clean : clean + "…"
}
