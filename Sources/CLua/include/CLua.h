/* Between Lua and Swift, the whole of it on one page.
 *
 * Lua -> C function -> Swift leaf -> back. Lua raises by longjmp (or a C++ exception), which must never
 * cross a Swift frame: every Lua API call is made in this target's C files, and a leaf gets pointers,
 * lengths and numbers, never a lua_State. A leaf never raises; what fails it writes into a ws_failure. */
#ifndef WS_CLUA_H
#define WS_CLUA_H

#include <CEvents.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

/* What luaopen_websocket and luaopen_websocket_global are. */
int ws_open(struct lua_State *_Nonnull L);
int ws_open_global(struct lua_State *_Nonnull L);

typedef struct ws_failure {
    char text[1024]; /* in words, NUL-terminated */
} ws_failure;

typedef struct ws_slice {
    const char *_Nullable bytes;
    size_t count;
} ws_slice;

/* ---- One Lua state: its event log and random bytes. Used by one thread at a time. */

typedef struct ws_state ws_state;

ws_state *_Nonnull ws_state_new(void);
/* Closes every websocket of the state, waits at most `seconds` for what was sent to leave, frees it. */
void ws_state_free(ws_state *_Nonnull state, double seconds);
/* In a child of fork: lets go of what the parent has queued. */
void ws_state_reset(ws_state *_Nonnull state);

/* Events that are queued behind what `ws_state_fetch` gave last. */
size_t ws_state_queued(ws_state *_Nonnull state);
/* Takes what is queued, when the last records are delivered: these stay valid until the next take. With nothing queued
 * it waits until there is something, a signal arrives or the monotonic clock shows `limit` seconds; 0: not at all. With
 * a `mask` the caller has blocked all signals, and the wait itself is open to those that are not in it. `count`: how
 * many records there are. */
ws_slice ws_state_fetch(
    ws_state *_Nonnull state, double limit, const void *_Nullable mask, size_t *_Nonnull count);
/* At the end of the process: closes every websocket of every state, waits at most `seconds`. */
void ws_shut_down(double seconds);
/* The memory of a delivered message. */
void ws_state_return_block(ws_state *_Nonnull state, ws_block block);

/* ---- The options of one websocket, while the constructor reads them. */

typedef struct ws_options ws_options;

typedef struct ws_option_value {
    enum ws_option_type { WS_OPTION_STRING, WS_OPTION_NUMBER, WS_OPTION_BOOLEAN } type;
    ws_slice string;
    double number;
    bool boolean;
} ws_option_value;

ws_options *_Nonnull ws_options_new(void);
void ws_options_free(ws_options *_Nonnull options);
/* `path` is the option's name in the script's table, such as "tls.ca". A list is set element by element. If the value is
 * wrong, returns false and writes why, without the option's name. */
bool ws_options_set(
    ws_options *_Nonnull options, const char *_Nonnull path, ws_option_value value, ws_failure *_Nonnull failure);
bool ws_options_header(ws_options *_Nonnull options, ws_slice name, ws_slice value, ws_failure *_Nonnull failure);

/* ---- One websocket. */

typedef struct ws_websocket ws_websocket;

enum ws_send_status { WS_SENT, WS_SEND_CLOSED, WS_SEND_FAILED };

/* `id` is what its event records carry. */
ws_websocket *_Nonnull ws_websocket_new(ws_state *_Nonnull state, ws_options *_Nonnull options, uint32_t id);
/* What is still open is closed in the background; what was sent still leaves. */
void ws_websocket_free(ws_websocket *_Nonnull websocket);
/* In a child of fork: closed, with nothing to send. */
void ws_websocket_reset(ws_websocket *_Nonnull websocket);
/* Starts; exactly one WS_EVENT_FINAL record will follow. */
bool ws_websocket_connect(ws_websocket *_Nonnull websocket, ws_failure *_Nonnull failure);
void ws_websocket_close(ws_websocket *_Nonnull websocket, uint16_t code, ws_slice reason);
/* Whether a script may close with this code and reason; says what is wrong. */
bool ws_may_close(uint16_t code, ws_slice reason, ws_failure *_Nonnull failure);
/* One message of joined parts. `first` since the last poll: it may go to the kernel at once. */
enum ws_send_status ws_websocket_send(
    ws_state *_Nonnull state, ws_websocket *_Nonnull websocket, uint8_t opcode, const ws_slice *_Nullable parts,
    size_t count, bool first, ws_failure *_Nonnull failure);
/* So many bytes of its records were delivered. */
void ws_websocket_delivered(ws_websocket *_Nonnull websocket, size_t bytes);

/* Lua has no memory for a message of so many bytes, of the connection that the `connection`-th OPEN event told of: it is
 * ended with the code 1009. */
void ws_websocket_refuse(ws_websocket *_Nonnull websocket, size_t bytes, uint32_t connection);

const char *_Nonnull ws_websocket_state(ws_websocket *_Nonnull websocket);
size_t ws_websocket_bufferedamount(ws_websocket *_Nonnull websocket);
int ws_websocket_attempts(ws_websocket *_Nonnull websocket);
/* Seconds; negative before the first pong. */
double ws_websocket_latency(ws_websocket *_Nonnull websocket);

#endif
