/* Passes over valid UTF-8 (RFC 3629), many bytes at a time. What is wrong, cut or left over is for others to judge. */
#ifndef WS_CUTF8_H
#define WS_CUTF8_H

#include <stddef.h>
#include <stdint.h>

/* A number of bytes that are whole, valid characters, if the first begins one. There may be more: it stops some way
 * before what is wrong or cut, the portable variant before what is not ASCII, and less than four are not looked at. */
size_t ws_utf8_prefix(const uint8_t *bytes, size_t count);

/* For tests: one of the functions that ws_utf8_prefix may be. */
typedef struct ws_utf8_variant {
    const char *name;
    size_t (*prefix)(const uint8_t *bytes, size_t count);
} ws_utf8_variant;

/* The variants that this processor can run, the one it does run first; the last is followed by one without a name. */
const ws_utf8_variant *ws_utf8_variants(void);

#endif
