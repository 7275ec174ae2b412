// A folder of files that is removed with the test.

import CLinux
import Glibc
import Testing

final class TestFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/websocket-test-XXXXXX".utf8CString)
        path = String(cString: try #require(mkdtemp(&template)))
    }

    deinit {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            unlink("\(path)/\(name)")
        }
        closedir(folder)
        rmdir(path)
    }

    /// Writes a file, in place of the one that has the name: never with the same inode. Returns its path.
    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        let file = "\(path)/\(name)"
        let new = "\(file).new"
        let number = open(new, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        try #require(number >= 0)
        defer { close(number) }
        let bytes = Array(text.utf8)
        try #require(Glibc.write(number, bytes, bytes.count) == bytes.count && rename(new, file) == 0)
        return file
    }
}
