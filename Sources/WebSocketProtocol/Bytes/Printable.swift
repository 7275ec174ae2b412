// Text of a script or a peer made safe to print in error messages and debug lines. Pure; called on any thread.

/// Replaces control characters, which a terminal would obey, by question marks.
public func replacingControlCharacters(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "?" : $0 }))
}

/// C0, DEL and C1.
private func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) }

/// Text for an error message: no control characters, and 200 characters at most.
public func quotedForError(_ text: some StringProtocol) -> String {
    // Cut first, because the text may be very large.
    let scalars = text.unicodeScalars
    let clean = replacingControlCharacters(String(String.UnicodeScalarView(scalars.prefix(200))))
    return scalars.dropFirst(200).isEmpty ? clean : clean + "…"
}
