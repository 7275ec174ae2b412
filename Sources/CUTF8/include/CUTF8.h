/* Skips valid UTF-8 (RFC 3629), many bytes at a time. Used by UTF8Validator, which checks the rest byte by byte. */
#ifndef WS_CUTF8_H
#define WS_CUTF8_H

#include <stddef.h>
#include <stdint.h>

/* Returns a number of bytes at the start that are whole, valid characters; `bytes` must begin a character. More bytes
 * may be valid: it stops up to a block before an error or an incomplete character, the portable variant stops before
 * the first character that is not ASCII, and fewer than four bytes are not checked. */
size_t ws_utf8_prefix(const uint8_t *bytes, size_t count);

/* For tests: an implementation of ws_utf8_prefix. */
typedef struct ws_utf8_variant {
    const char *name;
    size_t (*prefix)(const uint8_t *bytes, size_t count);
} ws_utf8_variant;

/* The variants that this processor can run; ws_utf8_prefix uses the first. The end is a variant without a name. */
const ws_utf8_variant *ws_utf8_variants(void);

#endif
