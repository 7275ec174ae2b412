rockspec_format = "3.0"
package = "websocket"
version = "scm-1"
source = {
   url = "git+file://.",
}
description = {
   summary = "WebSocket client and server in one C module: background engine, reconnecting, compression",
   detailed = [[
      A WebSocket client for any stock Lua interpreter, with the API of Aseprite's scripts. An engine
      on a thread of its own connects, answers pings, closes and reconnects while the script computes;
      websocket.poll() delivers what happened. One websocket.so, no other rock.
   ]],
   license = "MIT",
   labels = { "websocket", "network", "async" },
}
dependencies = {
   "lua >= 5.1, < 5.6",
}
external_dependencies = {
   ZLIB = { header = "zlib.h" },
   OPENSSL = { header = "openssl/ssl.h" },
}
build = {
   type = "cmake",
   variables = {
      CMAKE_INSTALL_PREFIX = "$(PREFIX)",
      LUA_INCDIR = "$(LUA_INCDIR)",
      LUA_INSTALL_DIR = "$(LIBDIR)",
      TYPES_INSTALL_DIR = "$(PREFIX)/types",
   },
}
