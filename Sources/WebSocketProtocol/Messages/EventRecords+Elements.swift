// Reading event records in Swift, one after the other, in place. CEvents.h has the layout; Lua's reader is deliver.c.

public import CEvents

extension EventRecords {
    /// The records in order, valid until the next mutation.
    public var elements: Elements { Elements(bytes) }

    public struct Elements: Sequence, IteratorProtocol {
        private var rest: UnsafeMutableRawBufferPointer

        fileprivate init(_ bytes: UnsafeMutableRawBufferPointer) { rest = bytes }

        public mutating func next() -> Element? {
            guard let start = rest.baseAddress, !rest.isEmpty else { return nil }
            let element = Element(event: start.assumingMemoryBound(to: ws_event.self))
            assert(element.size <= rest.count, "a record ends behind the last byte")
            rest = UnsafeMutableRawBufferPointer(rebasing: rest.dropFirst(element.size))
            return element
        }
    }

    /// One record, in place.
    public struct Element {
        private let event: UnsafeMutablePointer<ws_event>

        fileprivate init(event: UnsafeMutablePointer<ws_event>) { self.event = event }

        public var type: Int { Int(event.pointee.type) }
        public var socket: UInt32 { event.pointee.socket }
        public var flags: Int { Int(event.pointee.flags) }
        /// Bytes of the record, without its block.
        public var size: Int { ws_event_size(event) }
        /// Bytes that count against `maxqueued`: the record's, and the message's if it is detached.
        public var countedSize: Int { size + (block == nil ? 0 : Int(event.pointee.length)) }

        /// The detached block that holds the message; nil when the payload is in the record.
        public var block: ws_block? {
            flags & WS_EVENT_DETACHED == 0 ? nil : ws_event_block(event).pointee
        }

        public var payload: UnsafeRawBufferPointer {
            let start = block.map { UnsafeRawPointer($0.bytes) } ?? UnsafeRawPointer(ws_event_payload(event))
            return UnsafeRawBufferPointer(start: start, count: Int(event.pointee.length))
        }

        /// Removes the detached block from the record: the caller frees it, or puts it into a pool. The record keeps
        /// its size. nil when there is none.
        public func removeBlock() -> ws_block? {
            guard let block else { return nil }
            event.pointee.flags &= ~UInt8(WS_EVENT_DETACHED)
            event.pointee.length = UInt64(MemoryLayout<ws_block>.size)
            return block
        }
    }
}
