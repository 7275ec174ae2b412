/* What the peer's system has acknowledged of what was sent over TCP. */
#ifndef WS_ACKNOWLEDGEMENT_H
#define WS_ACKNOWLEDGEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ws_acknowledgement {
    size_t outstanding;   /* bytes that were written and not acknowledged (SIOCOUTQ) */
    uint32_t silence;     /* milliseconds since the last acknowledgement (TCP_INFO) */
    uint32_t round_trip;  /* microseconds, smoothed */
    uint32_t unanswered;  /* retransmissions and window probes in a row that were not answered */
} ws_acknowledgement;

/* False for a socket that is not of TCP. */
bool ws_read_acknowledgement(int socket, ws_acknowledgement *state);
/* Bytes that were written and not acknowledged; of a Unix socket, not read. 0 where that can't be known. */
size_t ws_unacknowledged_bytes(int socket);

#endif
