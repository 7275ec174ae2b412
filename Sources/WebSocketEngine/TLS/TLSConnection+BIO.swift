// The way between OpenSSL and the socket: a BIO, OpenSSL's own for sockets with another read and write. OpenSSL calls
// both within the calls of TLSConnection, on the thread that runs the loop.

import CLinux
import COpenSSL
import Glibc
import WebSocketProtocol

extension TLSConnection {
    // unsafe: made once; from then on OpenSSL only reads it.
    nonisolated(unsafe) static let bioMethod: OpaquePointer? = {
        let socket = BIO_s_socket()
        let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "socket")
        BIO_meth_set_puts(method, BIO_meth_get_puts(socket))
        BIO_meth_set_ctrl(method, BIO_meth_get_ctrl(socket))
        BIO_meth_set_create(method, BIO_meth_get_create(socket))
        BIO_meth_set_destroy(method, BIO_meth_get_destroy(socket))
        BIO_meth_set_read(method) { bio, bytes, count in
            TLSConnection.connection(of: bio)?.bioRead(bytes, count, bio) ?? -1
        }
        BIO_meth_set_write(method) { bio, bytes, count in
            let record = UnsafeRawBufferPointer(start: bytes, count: Int(count))
            return TLSConnection.connection(of: bio)?.bioWrite(record, bio) ?? -1
        }
        return method
    }()

    private static func connection(of bio: OpaquePointer?) -> TLSConnection? {
        BIO_get_ex_data(bio, 0).map { Unmanaged<TLSConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Reads from the socket for OpenSSL, within the budget: OpenSSL skips some records, and would not return while a
    /// peer sends nothing else.
    private func bioRead(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int32, _ bio: OpaquePointer?) -> Int32 {
        guard readBudget > 0 else {
            BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
            return -1
        }
        let read = receive(bytes, count, bio)
        readBudget -= max(read, 0)
        guard read == 0, count > 0 else { return Int32(read) }
        // If OpenSSL learns that the socket has ended without close_notify, it fails for good, and our Close could not
        // leave any more. So OpenSSL gets "would block", and `outcome` reports the end.
        hasSocketEnded = true
        BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
        return -1
    }

    /// Reads with recv, which fails on everything but a socket: OpenSSL's own read would take bytes of a pipe or an eventfd
    /// that the host has opened with our number, or wait for them.
    private func receive(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int32, _ bio: OpaquePointer?) -> Int {
        guard BIO_ctrl(bio, BIO_CTRL_GET_KTLS_RECV, 0, nil) <= 0 else {
            // The kernel decrypts: OpenSSL reads with recvmsg, which fails in the same way. To OpenSSL a read that a signal
            // interrupts is one that would block.
            return retrying { Int(BIO_meth_get_read(BIO_s_socket())!(bio, bytes, count)) }
        }
        let read = retrying { ws_receive(socket, bytes, Int(count)) }
        BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
        if read < 0, errno == EAGAIN { BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY) }
        return read
    }

    /// Takes a record from OpenSSL: into `records` while `write` encrypts or other records wait, else to the socket.
    private func bioWrite(_ record: UnsafeRawBufferPointer, _ bio: OpaquePointer?) -> Int32 {
        BIO_clear_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
        if BIO_test_flags(bio, WS_BIO_FLAGS_KTLS_TX_CTRL_MSG) != 0 {
            // The kernel encrypts, and this is a control record: all data must be in the socket before it.
            _ = flush()
            if records.isEmpty {
                return withoutSIGPIPE {
                    let bytes = record.assumingMemoryBound(to: CChar.self)
                    return BIO_meth_get_write(BIO_s_socket())!(bio, bytes.baseAddress, Int32(bytes.count))
                }
            }
        } else if records.isEmpty, !isEncrypting {
            let sent = send(record)
            if sent >= 0 || errno != EAGAIN { return Int32(sent) }
        } else if records.count < 2 * Self.bytesPerCall {
            if records.append(record) { return Int32(record.count) }
            errno = ENOMEM
            return -1
        }
        BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY)
        return -1
    }

    /// Writes the records to the socket. Returns errno if that fails.
    func flush() -> Int32? {
        let sent = records.isEmpty ? 0 : send(UnsafeRawBufferPointer(records.bytes))
        guard sent >= 0 else { return errno == EAGAIN ? nil : errno }
        records.didRead(sent)
        if records.isEmpty {
            swap(&records, &context.recordBuffer)
            // Another connection may have given its memory back meanwhile; one buffer is enough.
            records.removeAll(keepingAtMost: 0)
        }
        return nil
    }

    private func send(_ bytes: UnsafeRawBufferPointer) -> Int {
        // Without the flag, SIGPIPE would end the host.
        retrying { ws_send(socket, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
    }
}
