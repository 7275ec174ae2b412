import Testing

@testable import WebSocketProtocol

@Suite struct MaskTests {
    private static let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
    private static let mask = Mask(key: 0x3D21_FA37)

    /// RFC 6455 section 5.7: the masked "Hello".
    @Test func masksTheExampleOfTheRFC() {
        #expect(applied(Self.mask, Array("Hello".utf8), offset: 0) == [0x7F, 0x9F, 0x4D, 0x51, 0x58])
    }

    @Test func everyLengthAtEveryAlignment() {
        let text = noise(140)
        for offset in 0..<8 {
            for count in 0..<(text.count - offset) {
                let source = Array(text[offset..<offset + count])
                #expect(applied(Self.mask, source, offset: offset) == masked(source, Self.key))
            }
        }
    }

    @Test func aMaskContinuesAtAnOffset() {
        let text = noise(70)
        for cut in 0...text.count {
            let first = applied(Self.mask, Array(text[..<cut]), offset: 0)
            let second = applied(Self.mask.advanced(by: cut), Array(text[cut...]), offset: 0)
            #expect(first + second == masked(text, Self.key))
        }
    }

    @Test(arguments: [(0, 0x3D21_FA37), (1, 0x373D_21FA), (2, 0xFA37_3D21), (3, 0x21FA_373D), (4, 0x3D21_FA37)])
    func advancesByTurningTheKey(count: Int, key: UInt32) {
        #expect(Self.mask.advanced(by: count) == Mask(key: key))
    }

    @Test func maskingTwiceChangesNothing() {
        let text = noise(100)
        #expect(applied(Self.mask, applied(Self.mask, text, offset: 3), offset: 5) == text)
    }

    /// In place and between two buffers, `offset` bytes after an aligned address.
    private func applied(_ mask: Mask, _ source: [UInt8], offset: Int) -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: offset) + source
        let target = [UInt8](unsafeUninitializedCapacity: source.count + 1) { target, count in
            memory.withUnsafeBytes {
                mask.apply($0.baseAddress! + offset, UnsafeMutableRawPointer(target.baseAddress!), source.count)
            }
            count = source.count
        }
        memory.withUnsafeMutableBytes {
            mask.apply($0.baseAddress! + offset, $0.baseAddress! + offset, source.count)
        }
        #expect(Array(memory[offset...]) == target)
        return target
    }
}
