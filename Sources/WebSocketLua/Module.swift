// What the interpreter looks for in websocket.so. Each is a jump to C: no Swift frame stays below Lua.

import CLua

@_cdecl("luaopen_websocket")
public func luaopen_websocket(_ state: OpaquePointer) -> Int32 { ws_open(state) }

/// `require "websocket.global"`: Lua's all-in-one loader finds it in the same file.
@_cdecl("luaopen_websocket_global")
public func luaopen_websocket_global(_ state: OpaquePointer) -> Int32 { ws_open_global(state) }
