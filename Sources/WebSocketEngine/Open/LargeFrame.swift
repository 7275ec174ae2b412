// One large message as a frame. Lua's thread copies and masks it without the lock of the SendQueue, since the loop must not
// wait so long; SendQueue begins it and takes it.

import WebSocketProtocol

struct LargeFrame: ~Copyable {
    var buffer = ByteBuffer()
    /// The connection that it was made for.
    var connection: UInt32 = 0
    /// nil with compression: the loop makes the real frame.
    var mask: Mask?
}
