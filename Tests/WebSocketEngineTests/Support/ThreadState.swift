// What the kernel tells of a thread in /proc: for tests that act once another thread waits.

import Glibc

/// The folder of the calling thread in /proc.
func threadFolder() -> String {
    var name = [UInt8](repeating: 0, count: 64)
    let count = name.withUnsafeMutableBytes { readlink("/proc/thread-self", $0.baseAddress!, $0.count) }
    return "/proc/" + String(decoding: name.prefix(max(count, 0)), as: UTF8.self)
}

/// Whether a thread of this process sleeps in the kernel.
func isAsleep(_ thread: String) -> Bool {
    var text = [UInt8](repeating: 0, count: 512)
    let file = open("\(thread)/stat", O_RDONLY)
    defer { close(file) }
    let count = read(file, &text, text.count)
    // "(name) S": the name has no bracket.
    let state = text[..<max(count, 0)].firstIndex(of: UInt8(ascii: ")")).map { text[$0 + 2] }
    return state == UInt8(ascii: "S")
}
