// The header of a frame (RFC 6455 section 5.2), read and written. Pure; used on both threads.
//
//     byte 0: FIN RSV1 RSV2 RSV3 opcode(4)   byte 1: MASK length(7)   [2 or 8 bytes length]   [4 bytes mask]

struct FrameHeader: Equatable {
    var fin: Bool
    /// Set on the first frame of a compressed message (RFC 7692 section 6).
    var rsv1: Bool
    var opcode: Opcode
    var mask: Mask?
    var length: Int

    /// 2 bytes, 8 of extended length, 4 of mask.
    static let maximumSize = 14

    /// The header's size in bytes, which its second byte determines.
    @inline(__always)
    static func size(secondByte: UInt8) -> Int {
        let extended =
            switch secondByte & 0x7F {
            case 126: 2
            case 127: 8
            default: 0
            }
        return 2 + extended + Int(secondByte >> 7) * 4
    }

    /// Reads a header; `size(secondByte:)` bytes must be readable at `p`.
    init(reading p: UnsafeRawPointer) throws(ProtocolFailure) {
        let first = p.load(as: UInt8.self)
        let second = p.load(fromByteOffset: 1, as: UInt8.self)
        fin = first & 0x80 != 0
        rsv1 = first & 0x40 != 0
        guard first & 0x30 == 0 else {
            // 5.2: RSV2 and RSV3 belong to extensions, and none that uses them is ever negotiated.
            throw ProtocolFailure(.protocolError, "a frame has reserved bits set (RFC 6455 5.2)")
        }
        guard let opcode = Opcode(rawValue: first & 0x0F) else {
            // 5.2: an unknown opcode fails the connection.
            throw ProtocolFailure(.protocolError, "a frame has the reserved opcode \(first & 0x0F) (RFC 6455 5.2)")
        }
        self.opcode = opcode
        var offset = 2
        switch second & 0x7F {
        case 126:
            length = Int(UInt16(bigEndian: p.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
            offset = 4
            guard length > 125 else {
                // 5.2: the minimal number of bytes must be used.
                throw ProtocolFailure(.protocolError, "a frame's length is not in its shortest form (RFC 6455 5.2)")
            }
        case 127:
            let long = UInt64(bigEndian: p.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            offset = 10
            guard long >> 63 == 0 else {
                // 5.2: the most significant bit must be 0.
                throw ProtocolFailure(.protocolError, "a frame's length has its top bit set (RFC 6455 5.2)")
            }
            guard long > 0xFFFF else {
                throw ProtocolFailure(.protocolError, "a frame's length is not in its shortest form (RFC 6455 5.2)")
            }
            length = Int(long)
        case let short: length = Int(short)
        }
        mask =
            second & 0x80 == 0
            ? nil : Mask(key: UInt32(littleEndian: p.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        guard opcode.isControl else { return }
        guard fin else {
            // 5.5: control frames must not be fragmented.
            throw ProtocolFailure(.protocolError, "a control frame is fragmented (RFC 6455 5.5)")
        }
        guard length <= 125 else {
            // 5.5: 125 bytes at most.
            throw ProtocolFailure(.protocolError, "a control frame is longer than 125 bytes (RFC 6455 5.5)")
        }
    }

    init(fin: Bool = true, rsv1: Bool = false, opcode: Opcode, mask: Mask?, length: Int) {
        self.fin = fin
        self.rsv1 = rsv1
        self.opcode = opcode
        self.mask = mask
        self.length = length
    }

    /// Writes the header, `maximumSize` bytes at most, and returns its size.
    @inline(__always)
    func write(to p: UnsafeMutableRawPointer) -> Int {
        p.storeBytes(of: (fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode.rawValue, as: UInt8.self)
        let maskBit: UInt8 = mask == nil ? 0 : 0x80
        var size = 2
        if length <= 125 {
            p.storeBytes(of: maskBit | UInt8(truncatingIfNeeded: length), toByteOffset: 1, as: UInt8.self)
        } else if length <= 0xFFFF {
            p.storeBytes(of: maskBit | 126, toByteOffset: 1, as: UInt8.self)
            p.storeBytes(of: UInt16(truncatingIfNeeded: length).bigEndian, toByteOffset: 2, as: UInt16.self)
            size = 4
        } else {
            p.storeBytes(of: maskBit | 127, toByteOffset: 1, as: UInt8.self)
            p.storeBytes(of: UInt64(length).bigEndian, toByteOffset: 2, as: UInt64.self)
            size = 10
        }
        if let mask {
            p.storeBytes(of: mask.key.littleEndian, toByteOffset: size, as: UInt32.self)
            size += 4
        }
        return size
    }

    /// For a debug line: `TEXT, 5 bytes`.
    var description: String {
        "\("\(opcode)".uppercased()), \(length) bytes\(fin ? "" : ", not final")\(rsv1 ? ", compressed" : "")"
    }
}
