rockspec_format = "3.0"
package = "websocket"
version = "scm-1"
source = {
   url = "git+file://.",
}
description = {
   summary = "WebSocket client and server in one C module: background thread, reconnecting, compression",
   detailed = [[
      A WebSocket client and server for any stock Lua interpreter, with the API of Aseprite's scripts. A
      background thread connects, answers pings, closes and reconnects while the script computes;
      websocket.poll() calls the script's callbacks. One websocket.so, no other rock. To build it, Swift 6.3
      is needed: https://www.swift.org/install/linux/
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
      DOC_INSTALL_DIR = "$(PREFIX)/doc",
   },
}
