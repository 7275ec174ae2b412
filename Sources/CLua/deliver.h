/* What poll.c, deliver.c and values.c share: fetched records on their way to the script's callbacks. All of it runs on
 * the thread that called poll or run. */
#ifndef WS_DELIVER_H
#define WS_DELIVER_H

#include "bridge.h"
#include <signal.h>

/* Stack positions of a delivery; 1 is the argument of poll or run. */
enum {
    INDEX_LAST_RECORD = 2,  /* value of module_state.delivered at which this delivery ends */
    INDEX_EMPTY_STRING = 3, /* "" */
    INDEX_WEBSOCKET = 4,    /* websocket of the current record */
    INDEX_HANDLER = 5,      /* its onreceive */
};

/* poll.c: fetches the queued records if all fetched ones were delivered. `limit` and `mask` as in ws_state_fetch. */
void ws_fetch_records(module_state *module, double limit, const sigset_t *mask);

/* deliver.c: delivers up to the record counted by INDEX_LAST_RECORD. Returns `count` plus the number of delivered
 * events that the script sees. A callback that yields goes on with `continuation`, whose context is that number. */
lua_Integer ws_deliver(lua_State *L, module_state *module, lua_Integer count, lua_KFunction continuation);
/* deliver.c: calls a C function that does nothing. */
void ws_call_empty_function(lua_State *L);

/* values.c: pushes the arguments that a record has for the callback, behind the event's type; returns how many. Each
 * push may collect garbage, and a finalizer may poll, which frees the record: it is read before the first push. */
int ws_push_values(lua_State *L, ws_event *event);
/* values.c: the same after a first try that raised. The event's type is on top of the stack. */
int ws_push_values_again(lua_State *L, ws_event *event, lua_websocket *ws) __attribute__((cold));

/* The values of TEXT, BINARY, PING and PONG. */
static inline __attribute__((always_inline)) int ws_push_message(lua_State *L, ws_event *event)
{
    bool is_detached = event->flags & WS_EVENT_DETACHED;
    lua_pushlstring(L, is_detached ? ws_event_block(event)->bytes : ws_event_payload(event), event->length);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    return 2;
}

#endif
