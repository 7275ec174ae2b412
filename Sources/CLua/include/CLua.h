/* The whole interface between Lua and Swift. The C files of this target call these functions; Bridge.swift implements
 * them. All but ws_shut_down run on the thread that runs the Lua state.
 *
 * A call goes from Lua to a C function, to one of these, and back. Lua raises by longjmp (or a C++ exception), which
 * must never cross a Swift frame: only the C files call the Lua API, and these functions get pointers, lengths and
 * numbers, never a lua_State. They never raise; if one fails, it writes the reason into a ws_failure. */
#ifndef WS_CLUA_H
#define WS_CLUA_H

#include <CEvents.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

/* open.c: the bodies of luaopen_websocket and luaopen_websocket_global. */
int ws_open(struct lua_State *_Nonnull L);
int ws_open_global(struct lua_State *_Nonnull L);

typedef struct ws_failure {
    char text[1024]; /* the reason in words, NUL-terminated */
} ws_failure;

typedef struct ws_slice {
    const char *_Nullable bytes;
    size_t count;
} ws_slice;

/* ---- One Lua state: its queue of event records, and its random bytes. */

typedef struct ws_state ws_state;

ws_state *_Nonnull ws_state_new(void);
/* Closes every websocket of the state, waits at most a second until the sent messages have left, frees the state. */
void ws_state_free(ws_state *_Nonnull state);
/* In a forked child: forgets the records that the parent has queued. */
void ws_state_reset(ws_state *_Nonnull state);

/* A number for a websocket or a server of the state, which its records will carry; never 0. */
uint32_t ws_state_new_id(ws_state *_Nonnull state);
/* The number of records that were queued since the last ws_state_fetch. */
size_t ws_state_queued(ws_state *_Nonnull state);
/* Returns the queued records and writes their number into `count`; they are valid until the next call. Call it when all
 * records of the last call were delivered. If none are queued, it waits until one is, a signal arrives, or the
 * monotonic clock shows `limit` seconds (0: it does not wait, but if the state has a descriptor, it does one turn of the
 * engine's loop, unless another thread does). `mask` is a sigset_t: the caller has blocked all
 * signals, and during the wait only those of the mask are blocked. */
ws_slice ws_state_fetch(
    ws_state *_Nonnull state, double limit, const void *_Nullable mask, size_t *_Nonnull count);
/* Returns a descriptor for an event loop of the host. It is readable while events wait (ws_state_show), while the script's
 * timer is due (ws_state_set_timer), and while the engine has work that a ws_state_fetch with the limit 0 does. It is the same
 * number until the state ends, unless the host has closed it, or in a forked child: then it is made anew. Returns -1 and
 * writes the reason if the system gives none. Call ws_state_show next. */
int ws_state_descriptor(ws_state *_Nonnull state, ws_failure *_Nonnull failure);
/* Does nothing before ws_state_descriptor was called. To be called before each callback and at the end of each poll; `remain`:
 * fetched records are still undelivered. If they are, or records are queued, the descriptor becomes readable; if not, it
 * becomes unreadable until the next record is queued. No system call if it is so already. */
void ws_state_show(ws_state *_Nonnull state, bool remain);
/* The time of the script's next timer, in seconds of the monotonic clock; HUGE_VAL: none. A descriptor that is made later has
 * it, too. No system call if it is the same as before. */
void ws_state_set_timer(ws_state *_Nonnull state, double seconds);
/* Returns the memory of a delivered message. */
void ws_state_return_block(ws_state *_Nonnull state, ws_block block);
/* At the end of the process, on the thread that calls exit: closes every websocket of every state, and waits at most a
 * second until the sent messages have left. */
void ws_shut_down(void);

/* ---- The options of one websocket, while the constructor reads them. */

typedef struct ws_options ws_options;

typedef struct ws_option_value {
    enum ws_option_type { WS_OPTION_STRING, WS_OPTION_NUMBER, WS_OPTION_BOOLEAN, WS_OPTION_LIST } type;
    ws_slice string;
    double number;
    bool boolean;
} ws_option_value;

ws_options *_Nonnull ws_options_new(void);
void ws_options_free(ws_options *_Nonnull options);
/* Sets one option. `path` is its name in the script's table, such as "tls.ca"; a list is set element by element, behind a
 * value of the type LIST. If the
 * value is wrong, returns false and writes the reason, without the option's name. */
bool ws_options_set(
    ws_options *_Nonnull options, const char *_Nonnull path, ws_option_value value, ws_failure *_Nonnull failure);
/* Adds one field of the option `headers`; fails like ws_options_set. */
bool ws_options_header(ws_options *_Nonnull options, ws_slice name, ws_slice value, ws_failure *_Nonnull failure);

/* ---- One websocket. */

typedef struct ws_websocket ws_websocket;

enum ws_send_status { WS_SENT, WS_SEND_CLOSED, WS_SEND_FAILED };

/* The websocket's records will carry `id`. */
ws_websocket *_Nonnull ws_websocket_new(ws_state *_Nonnull state, ws_options *_Nonnull options, uint32_t id);
/* An open connection is closed in the background, after the messages that were sent. */
void ws_websocket_free(ws_websocket *_Nonnull websocket);
/* In a forked child: the websocket is closed, and its unsent messages are dropped. */
void ws_websocket_reset(ws_websocket *_Nonnull websocket);
/* Starts connecting. If it returns true, exactly one WS_EVENT_FINAL record will follow. */
bool ws_websocket_connect(ws_websocket *_Nonnull websocket, ws_failure *_Nonnull failure);
/* A copy of the websocket's options, in which the answer of onattempt replaces some; the caller frees it. */
ws_options *_Nonnull ws_websocket_options(ws_websocket *_Nonnull websocket);
/* Answers the question of a WS_EVENT_ATTEMPT record: the attempt begins, with these options if there are any. This and the
 * next two do nothing if the question is not the current one any more. */
void ws_websocket_answer(
    ws_websocket *_Nonnull websocket, uint32_t question, ws_options *_Nullable options);
/* The attempt fails, with an ERROR that has the reason. */
void ws_websocket_fail_attempt(ws_websocket *_Nonnull websocket, uint32_t question, ws_slice reason);
/* There is to be no attempt: closes the websocket. Returns whether the question is the current one. */
bool ws_websocket_decline(ws_websocket *_Nonnull websocket, uint32_t question);
void ws_websocket_close(ws_websocket *_Nonnull websocket, uint16_t code, ws_slice reason);
/* Whether a script may close with this code and reason; if not, writes the reason. */
bool ws_may_close(int64_t code, ws_slice reason, ws_failure *_Nonnull failure);
/* Sends the joined parts as one message: the first of a websocket since the last poll is written to the socket at once if that
 * is possible, those behind it are left to the loop, which writes many together. WS_SEND_CLOSED: the websocket is not open.
 * WS_SEND_FAILED: `failure` has the reason. */
enum ws_send_status ws_websocket_send(
    ws_state *_Nonnull state, ws_websocket *_Nonnull websocket, uint8_t opcode, const ws_slice *_Nullable parts,
    size_t count, bool is_first, ws_failure *_Nonnull failure);
/* Sends one message to each of `count` websockets; NULL stands for one that is not open. `results` has, for each, whether the
 * message is the first since the last poll; it gets whether the message was taken. Returns false, and sends nothing, if
 * `failure` has a reason. */
bool ws_broadcast(
    ws_state *_Nonnull state, uint8_t opcode, ws_slice message, ws_websocket *_Nullable const *_Nonnull websockets,
    bool *_Nonnull results, size_t count, ws_failure *_Nonnull failure);
/* Whether no more than `bytes` of what was sent wait for the kernel. If more do (WS_FLUSHING), a WS_EVENT_FLUSHED record
 * will come once that is so. */
enum ws_flush_status { WS_FLUSHED, WS_FLUSHING, WS_NO_CONNECTION };
enum ws_flush_status ws_websocket_flush(ws_websocket *_Nonnull websocket, int64_t bytes);
/* Records of this many bytes were delivered: they no longer count against maxqueued. */
void ws_websocket_delivered(ws_websocket *_Nonnull websocket, size_t bytes);
/* Lua has no memory for a message of this many bytes: fails the connection with the code 1009. `connection` is the
 * number of OPEN events delivered before the message; a later connection is not touched. */
void ws_websocket_refuse(ws_websocket *_Nonnull websocket, size_t bytes, uint32_t connection);

const char *_Nonnull ws_websocket_state(ws_websocket *_Nonnull websocket);
size_t ws_websocket_bufferedamount(ws_websocket *_Nonnull websocket);
int ws_websocket_attempts(ws_websocket *_Nonnull websocket);
/* Seconds; negative before the first pong. */
double ws_websocket_latency(ws_websocket *_Nonnull websocket);

/* ---- One server. */

typedef struct ws_server ws_server;
typedef struct ws_request ws_request;

/* The options of a server, for ws_options_set. */
ws_options *_Nonnull ws_options_new_server(void);
/* Listens; the records of the server will carry `id`. NULL, with a whole sentence, if it can't. Exactly one
 * WS_EVENT_SERVER_ENDED record with WS_EVENT_FINAL will follow. */
ws_server *_Nullable ws_server_listen(
    ws_state *_Nonnull state, ws_options *_Nonnull options, uint32_t id, ws_failure *_Nonnull failure);
/* Closes it as ws_server_close with 1001 does. */
void ws_server_free(ws_server *_Nonnull server);
/* In a forked child: closes the child's copy of the listening socket. */
void ws_server_reset(ws_server *_Nonnull server);
/* Stops listening at once; the connections are closed in the background. False if no WS_EVENT_SERVER_ENDED follows, because
 * the engine has gone. */
bool ws_server_close(ws_server *_Nonnull server, uint16_t code, ws_slice reason);
const char *_Nonnull ws_server_state(ws_server *_Nonnull server);
/* Where it listens; valid as long as the server. */
ws_slice ws_server_address(ws_server *_Nonnull server);
int ws_server_port(ws_server *_Nonnull server);
size_t ws_server_connections(ws_server *_Nonnull server);

/* For an OPEN with WS_EVENT_ACCEPTED: the id of the server that has accepted this websocket; 0 if it was taken already. */
uint32_t ws_state_accepted_by(ws_state *_Nonnull state, uint32_t websocket);
/* Then the websocket itself, which the caller frees. */
ws_websocket *_Nullable ws_state_take_accepted(ws_state *_Nonnull state, uint32_t websocket);

/* For a WS_EVENT_REQUEST: the id of the server that was asked; 0 if the request was taken already. */
uint32_t ws_state_requested_of(ws_state *_Nonnull state, uint32_t websocket);
/* Then the request itself, which the caller frees. */
ws_request *_Nullable ws_state_take_request(ws_state *_Nonnull state, uint32_t websocket);
void ws_request_free(ws_request *_Nonnull request);
/* The table that onrequest has returned, for ws_options_set. */
ws_options *_Nonnull ws_options_new_answer(void);
/* Answers the request; after the client has gone nothing happens. False, with the reason, if the answer can't be sent. */
enum ws_decision { WS_REQUEST_PROCEED, WS_REQUEST_FORBID, WS_REQUEST_ANSWER };
bool ws_request_answer(
    ws_request *_Nonnull request, enum ws_decision decision, ws_options *_Nullable answer,
    ws_failure *_Nonnull failure);
/* Whether the client waits no longer. If so, a WS_EVENT_ENDED or an OPEN has followed or will. */
bool ws_request_is_over(ws_request *_Nonnull request);
/* There is no answer: 500. */
void ws_request_fail(ws_request *_Nonnull request);

#endif
