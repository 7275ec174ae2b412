/* zlib, and functions in place of macros that Swift does not import. Used by Deflater and Inflater. */
#ifndef WS_CZLIB_H
#define WS_CZLIB_H

#include <zlib.h>

/* A negative window makes a raw deflate stream, without header and checksum (RFC 7692 section 7.2). */
static inline int ws_deflate_init(z_stream *stream, int level, int window, int memory)
{
    return deflateInit2(stream, level, Z_DEFLATED, -window, memory, Z_DEFAULT_STRATEGY);
}

static inline int ws_inflate_init(z_stream *stream, int window)
{
    return inflateInit2(stream, -window);
}

#endif
