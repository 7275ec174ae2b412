/* The version of the module (SemVer), in this place only. It becomes `websocket._VERSION`; scripts/release reads it for
 * the names of the packages; lua-tests/release_spec.lua compares it with CHANGELOG.md. */
#ifndef WS_VERSION_H
#define WS_VERSION_H

#define WS_VERSION "1.0.0"

#endif
