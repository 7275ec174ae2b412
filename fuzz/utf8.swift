// Fuzz target: UTF8Validator, with any cut, must agree with the standard library.

@testable import WebSocketProtocol

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzUTF8(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard size > 0 else { return 0 }
    let input = Array(bytes(data, size)[1...])
    let oracle = String(validating: input, as: UTF8.self) != nil
    for cut in [input.count, Int(data[0]) % max(input.count, 1)] {
        var validator = UTF8Validator()
        let isValid = input.withUnsafeBytes {
            validator.validate(UnsafeRawBufferPointer(rebasing: $0[..<cut]))
                && validator.validate(UnsafeRawBufferPointer(rebasing: $0[cut...])) && validator.isComplete
        }
        precondition(isValid == oracle)
    }
    return 0
}
