// The symbols that the interpreter looks up in websocket.so. Each is compiled to a jump to C, so that no Swift frame is
// on the stack when Lua raises.

import CLua

@_cdecl("luaopen_websocket")
public func luaopen_websocket(_ state: OpaquePointer) -> Int32 { ws_open(state) }

/// For `require "websocket.global"`: Lua's all-in-one loader finds it in the same file.
@_cdecl("luaopen_websocket_global")
public func luaopen_websocket_global(_ state: OpaquePointer) -> Int32 { ws_open_global(state) }
