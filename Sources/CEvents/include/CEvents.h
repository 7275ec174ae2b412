/* The layout of event records. The loop thread appends them (EventRecords.swift), Lua's thread reads them (deliver.c);
 * a buffer of records belongs to one thread at a time, so neither takes a lock. The buffer is contiguous; each record
 * is a ws_event, then its payload, padded to 8 bytes. */
#ifndef WS_CEVENTS_H
#define WS_CEVENTS_H

#include <stddef.h>
#include <stdint.h>

/* ws_event.type. Lua sees these values as WebSocketMessageType, except those from DEBUG on. */
enum {
    WS_EVENT_TEXT = 0,
    WS_EVENT_OPEN = 1,
    WS_EVENT_CLOSE = 2,
    WS_EVENT_ERROR = 3,
    WS_EVENT_PING = 4,
    WS_EVENT_PONG = 5,
    WS_EVENT_FRAGMENT = 6,
    WS_EVENT_BINARY = 16,
    WS_EVENT_DEBUG = 128,   /* a line for the debug function */
    WS_EVENT_ATTEMPT = 129, /* a question for the function onattempt */
    WS_EVENT_REQUEST = 130, /* a question for the function onrequest of a server; `socket`: the id that the websocket will have */
    /* No events for the script: */
    WS_EVENT_UNSEEN = 200,
    WS_EVENT_FLUSHED = 200, /* what ws_websocket_flush has waited for */
    WS_EVENT_ENDED = 201,   /* only carries WS_EVENT_FINAL; without it: a request will not lead to an open connection */
    WS_EVENT_SERVER_ENDED = 202, /* a server is closed, no OPEN follows; with WS_EVENT_FINAL: its connections have ended; `socket`: its id */
};

/* ws_event.flags. */
enum {
    WS_EVENT_DETACHED = 1, /* the message is in a ws_block, which stands in place of the payload */
    WS_EVENT_ACCEPTED = 4, /* the OPEN of a websocket that a server has accepted: the first record with its id */
    WS_EVENT_FINAL = 2,    /* last record of one connect(): each connect() gets exactly one such record */
};

/* Payload by type:
 *   TEXT BINARY PING PONG   the bytes, or a ws_block (DETACHED)
 *   DEBUG                   the line
 *   ATTEMPT                 ws_question
 *   FRAGMENT                uint64_t: bytes of the message received so far
 *   OPEN ERROR CLOSE REQUEST uint32_t n, n bytes of error text, then info fields up to the end */
typedef struct ws_event {
    uint32_t socket; /* id of the websocket within its Lua state */
    uint8_t type;
    uint8_t flags;
    uint16_t zero;
    uint64_t length; /* bytes of the payload without padding; if DETACHED, bytes of the message */
} ws_event;

typedef struct ws_block {
    void *bytes; /* from malloc; owned by the buffer of records until the reader removes the block */
    uint64_t capacity;
} ws_block;

/* The loop waits for the answer before it opens anything. */
typedef struct ws_question {
    uint32_t number;  /* identifies the question in the answer; never 0 */
    uint32_t attempt; /* first argument of onattempt */
} ws_question;

/* Tags of info fields. A field is a tag, a name (length byte, bytes) and a value. The fields after a TABLE are the
 * table's, up to its END, which has neither name nor value. A name of length 0 stands for the next list index. */
enum {
    WS_INFO_END = 0,
    WS_INFO_STRING = 1,  /* uint32_t length, bytes */
    WS_INFO_INTEGER = 2, /* int64_t */
    WS_INFO_NUMBER = 3,  /* double */
    WS_INFO_BOOLEAN = 4, /* uint8_t */
    WS_INFO_TABLE = 5,
};

/* Bytes of the record: its header and its padded payload. */
static inline size_t ws_event_size(const ws_event *event)
{
    size_t payload = event->flags & WS_EVENT_DETACHED ? sizeof(ws_block) : (size_t)event->length;
    return sizeof(ws_event) + ((payload + 7) & ~(size_t)7);
}

static inline ws_event *ws_event_next(ws_event *event) { return (ws_event *)((char *)event + ws_event_size(event)); }

/* The payload of a record that is not detached. */
static inline const char *ws_event_payload(const ws_event *event) { return (const char *)(event + 1); }

/* The memory of a detached message. */
static inline ws_block *ws_event_block(ws_event *event) { return (ws_block *)(event + 1); }

#endif
