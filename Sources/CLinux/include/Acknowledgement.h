/* TCP acknowledgements: how many of the sent bytes the peer's system has received. The loop calls these
 * (Transport.swift). */
#ifndef WS_ACKNOWLEDGEMENT_H
#define WS_ACKNOWLEDGEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ws_acknowledgement {
    size_t outstanding;  /* written bytes that are not acknowledged (SIOCOUTQ) */
    uint32_t silence;    /* milliseconds since the last acknowledgement (TCP_INFO) */
    uint32_t round_trip; /* microseconds, smoothed */
    uint32_t unanswered; /* retransmissions and window probes in a row without an answer */
    uint32_t since_sent; /* milliseconds since a segment with bytes of ours was sent last */
    uint32_t window;     /* bytes that the peer's system has room for; 0 before Linux 5.4 */
    uint64_t acknowledged; /* bytes since the connection began */
} ws_acknowledgement;

/* Returns false if the socket is not a TCP socket. */
bool ws_read_acknowledgement(int socket, ws_acknowledgement *state);
/* Written bytes that are not acknowledged, or not read by the peer of a Unix socket; 0 if the kernel can't tell. */
size_t ws_unacknowledged_bytes(int socket);

#endif
