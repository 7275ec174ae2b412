import Testing

@testable import WebSocketProtocol

@Suite struct OpcodeTests {
    @Test(arguments: [(0x0, Opcode.continuation), (0x1, .text), (0x2, .binary)] as [(UInt8, Opcode)])
    func dataFrames(value: UInt8, opcode: Opcode) {
        #expect(Opcode(rawValue: value) == opcode)
        #expect(!opcode.isControl)
    }

    @Test(arguments: [(0x8, Opcode.close), (0x9, .ping), (0xA, .pong)] as [(UInt8, Opcode)])
    func controlFrames(value: UInt8, opcode: Opcode) {
        #expect(Opcode(rawValue: value) == opcode)
        #expect(opcode.isControl)
    }

    @Test(arguments: [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] as [UInt8])
    func reserved(value: UInt8) {
        #expect(Opcode(rawValue: value) == nil)
    }
}
