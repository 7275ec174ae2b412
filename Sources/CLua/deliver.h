/* What poll.c, runs.c, deliver.c and values.c share: fetched records on their way to the script's callbacks. All of it runs on
 * the thread that called poll or run. */
#ifndef WS_DELIVER_H
#define WS_DELIVER_H

#include "bridge.h"
#include <signal.h>

/* Stack positions of a delivery. */
enum {
    INDEX_TARGET = 1,       /* websocket whose next record ends the delivery; in a run, its state; or nil */
    INDEX_DEADLINE = 2,     /* time at which to stop waiting, by the monotonic clock; 0: do not wait */
    INDEX_EMPTY_STRING = 3, /* "" */
    INDEX_LAST_RECORD = 4,  /* value of module_state.delivered at which this delivery ends */
    INDEX_WEBSOCKET = 5,    /* websocket of the current record */
    INDEX_HANDLER = 6,      /* its onreceive */
    INDEX_QUESTION = 7,     /* while onattempt or onrequest is called: attempt.c, request.c */
};

/* One run, until it returns or an error ends it: a userdata at INDEX_TARGET of that call; in a coroutine with
 * websocket.yield, in a variable of waits.lua's function (runs.c). */
typedef struct ws_run_state {
    module_state *module; /* type tag */
    uint64_t number;      /* how many runs had begun, with this one */
    bool is_stopped;      /* by websocket.stop() */
} ws_run_state;

/* What ends a delivery before its last record, and what goes on after a callback that has yielded. */
typedef struct delivery {
    lua_KFunction continuation;
    double until;                /* time by the monotonic clock; HUGE_VAL: none */
    const lua_websocket *target; /* its next record; NULL: none */
    const bool *is_stopped;      /* set by websocket.stop(); NULL: not in a run */
} delivery;

/* runs.c: the state at this index; NULL if it is something else. */
ws_run_state *ws_run_at(lua_State *L, int index, const module_state *module);
static inline bool ws_is_run_over(const module_state *module, const ws_run_state *run)
{
    return run->is_stopped || ws_is_idle(module);
}

/* poll.c: fetches the queued records if all fetched ones were delivered. `limit` and `mask` as in ws_state_fetch. */
void ws_fetch_records(module_state *module, double limit, const sigset_t *mask);

/* deliver.c: delivers up to the record that module_state.delivered counts as `last`, and runs the timers that are due. The
 * stack is as far as INDEX_LAST_RECORD. Returns `count` plus the number of delivered events that the script sees, which is
 * also the context of the continuation. */
lua_Integer ws_deliver(lua_State *L, module_state *module, uint64_t last, lua_Integer count, const delivery *how);
/* deliver.c: the same for the continuation, which finds `last` at INDEX_LAST_RECORD. */
lua_Integer ws_deliver_on(lua_State *L, module_state *module, lua_Integer count, const delivery *how);
/* deliver.c: whether WS_MAX_NESTED deliveries are calling a callback on this C stack; forgets those that are gone. */
bool ws_is_nested_too_deep(module_state *module);
static inline bool ws_is_too_deep(module_state *module)
{
    return module->nested_count && ws_is_nested_too_deep(module);
}
/* deliver.c: calls a C function that does nothing. */
void ws_call_empty_function(lua_State *L);
/* deliver.c: reserves what a call of a handler takes, so that it can't fail once a record is consumed: stack for any Lua
 * function, a CallInfo, and one more level before the limit of C calls. Called before records are fetched. */
void ws_reserve_call(lua_State *L);
/* deliver.c: the same once more, after the pushes and before a record is consumed, where a garbage collection during the
 * pushes may have freed it. If it raises, a descriptor of the script says that a record remains. In 5.2 this call may collect
 * garbage, too: returns false if a finalizer has polled, and that poll has delivered records. */
void ws_reserve_call_again(lua_State *L, module_state *module);
static inline bool ws_keep_call_reserved(lua_State *L, module_state *module)
{
    if (WS_STACK_STAYS && WS_CALLINFO_STAYS) return true;
    uint64_t before = module->delivered;
    ws_reserve_call_again(L, module);
    return module->delivered == before;
}

/* deliver.c: moves past a record that belongs to no websocket. */
void ws_skip_record(lua_State *L, module_state *module, ws_event *event);

/* server.c: delivers a record whose id is that of no live websocket: one of a server, of a request, or of a websocket that a
 * server has accepted, which is made here; its record is then delivered to it. Returns how many functions were called. */
int ws_deliver_server_record(
    lua_State *L, module_state *module, ws_event *event, lua_Integer count, lua_KFunction continuation);
/* server.c: completes the info of an accepted websocket's OPEN, which is on top of the stack. */
void ws_complete_open(lua_State *L, const lua_websocket *ws);

/* request.c: calls onrequest, the server's at INDEX_WEBSOCKET. */
int ws_ask_request(
    lua_State *L, module_state *module, ws_event *event, lua_Integer count, lua_KFunction continuation);
/* request.c: whether the value at INDEX_QUESTION is that of onrequest. */
bool ws_is_request(lua_State *L);
/* request.c: the function has returned its answer. */
void ws_take_request_answer(lua_State *L);

/* timers.c: runs the timers that are due at `now`, in order of their time. */
void ws_run_timers(
    lua_State *L, module_state *module, double now, lua_KContext count, lua_KFunction continuation);

/* attempt.c: pushes the question, then the function onattempt and its arguments; returns how many. The stack is as far as
 * INDEX_HANDLER. */
int ws_push_question(lua_State *L, const ws_event *event);
/* attempt.c: the function is called next. */
void ws_begin_question(lua_State *L);
/* attempt.c: the function has returned its answer, which is behind the question. The stack is then as far as INDEX_HANDLER.
 * Raises if the answer is wrong. */
void ws_take_answer(lua_State *L);

/* waits.c: keeps a message, or `false` and the info of a CLOSE, for `receive`. `data` and `type` are stack positions.
 * Returns how many bytes count against maxqueued until they are taken. */
size_t ws_put_in_inbox(lua_State *L, lua_websocket *ws, int data, int type);
/* waits.c: all coroutines that wait for this websocket have to learn that its event was delivered. Forgets those that no longer
 * wait, because an error has ended the wait or they were dropped. */
void ws_mark_waiting_coroutines(lua_State *L, lua_websocket *ws);

/* values.c: pushes the arguments that a record has for the callback, behind the event's type; returns how many. Each
 * push may collect garbage, and a finalizer may poll, which frees the record: it is read before the first push, and by
 * ws_push_bytes. */
int ws_push_values(lua_State *L, const module_state *module, ws_event *event);
/* values.c: the same for a script that has a descriptor, which is shown if a push raises; and after a first try that
 * raised. The event's type is on top of the stack. */
int ws_push_values_protected(lua_State *L, ws_event *event, lua_websocket *ws, bool is_first_try);

/* The values of TEXT, BINARY, PING and PONG. */
static inline __attribute__((always_inline)) int ws_push_message(
    lua_State *L, const module_state *module, ws_event *event)
{
    bool is_detached = event->flags & WS_EVENT_DETACHED;
    const char *bytes = is_detached ? ws_event_block(event)->bytes : ws_event_payload(event);
    ws_push_bytes(L, bytes, event->length, &module->delivered);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    return 2;
}

#endif
