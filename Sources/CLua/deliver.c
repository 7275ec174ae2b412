/* Delivers fetched records to the script's callbacks, on the thread that called poll or run (poll.c). A record is
 * consumed once Lua has its values and before the callback is called: if anything raises, no record is lost and none is
 * delivered twice. */
#include "deliver.h"
#include <math.h>

/* The websocket of the current record; it stands at INDEX_WEBSOCKET, its handler at INDEX_HANDLER. */
typedef struct recipient {
    uint32_t id; /* 0: none was looked up */
    bool has_handler;
    bool is_target; /* its next record ends the delivery */
    /* A handler's messages may be pushed unprotected. With a descriptor they may not: push_call. Nothing is looked up anew
     * after a callback that asks for the descriptor, and need not be: before each callback it is shown. */
    bool is_fast;
    lua_websocket *websocket; /* NULL if it is not live */
} recipient;

void ws_report_bytes(module_state *module)
{
    lua_websocket *owner = module->unreported_owner;
    /* The script may have called its __gc. */
    if (owner->engine_side && module->unreported_bytes) ws_websocket_delivered(owner->engine_side, module->unreported_bytes);
    module->unreported_owner = NULL;
    module->unreported_bytes = 0;
}

/* Returns a message's memory to the engine; returns how many bytes the message had. */
static __attribute__((noinline)) size_t return_block(module_state *module, ws_event *event)
{
    size_t length = event->length;
    ws_block block = *ws_event_block(event);
    event->flags &= (uint8_t)~WS_EVENT_DETACHED;
    event->length = sizeof block; /* the record's size stays the same */
    ws_state_return_block(module->state, block);
    return length;
}

/* The last record of all its connect() calls was delivered: the script may start it again. */
static __attribute__((noinline)) void mark_ended(lua_State *L, module_state *module, lua_websocket *ws)
{
    ws_report_delivered(module);
    ws->started = false;
    module->live--;
    lua_pushnil(L);
    lua_rawseti(L, WS_UP_LIVE, ws->id);
    ws_wake_runs_if_idle(L, module);
}

/* Moves past the record, which was delivered to `ws`; NULL: to nobody. `kept`: bytes of it that wait in the inbox. */
static inline __attribute__((always_inline)) void advance_cursor(
    lua_State *L, module_state *module, ws_event *event, lua_websocket *ws, size_t kept)
{
    size_t size = ws_event_size(event) - kept;
    module->cursor = ws_event_next(event);
    module->delivered++;
    if (event->flags & WS_EVENT_DETACHED) size += return_block(module, event);
    if (!ws) return;
    if (module->unreported_owner != ws) {
        ws_report_delivered(module);
        module->unreported_owner = ws;
    }
    module->unreported_bytes += size;
    if (event->flags & WS_EVENT_FINAL && ws->starts && --ws->starts == 0) mark_ended(L, module, ws);
}

void ws_skip_record(lua_State *L, module_state *module, ws_event *event)
{
    advance_cursor(L, module, event, NULL, 0);
}

static int empty_function(lua_State *L)
{
    (void)L;
    return 0;
}

void ws_call_empty_function(lua_State *L)
{
    lua_pushcfunction(L, empty_function);
    lua_call(L, 0, 0);
}

/* Callbacks may poll, which nests deliveries on the C stack: Lua allows about 200 C calls. A callback that raises or
 * yields leaves no trace, but its frame is then below, or at, that of the next delivery: the stack grows downwards. */
bool ws_is_nested_too_deep(module_state *module)
{
    char *here = __builtin_frame_address(0);
    if (!pthread_equal(module->nested_thread, pthread_self())) module->nested_count = 0;
    while (module->nested_count && module->nested[module->nested_count - 1] <= here) module->nested_count--;
    return module->nested_count == WS_MAX_NESTED;
}

/* Slots for a call of any function. */
enum { CALL_SLOTS = 280 };

void ws_reserve_call(lua_State *L)
{
    luaL_checkstack(L, CALL_SLOTS, NULL);
    ws_call_empty_function(L);
}

int ws_reserve_slots_function(lua_State *L)
{
    luaL_checkstack(L, CALL_SLOTS, NULL);
    return 0;
}

void ws_reserve_call_again(lua_State *L, module_state *module)
{
    if (WS_CALLINFO_STAYS && !module->is_watched) {
        luaL_checkstack(L, CALL_SLOTS, NULL);
        return;
    }
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_RESERVE_SLOTS);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK) return;
    ws_show(module);
    lua_error(L);
}

/* The next record to deliver; NULL when this delivery is over. */
static inline __attribute__((always_inline)) ws_event *next_record(lua_State *L, module_state *module, uint64_t last)
{
    /* The state is gone if a finalizer of the closing state resumes a coroutine that has yielded in a callback. */
    if (!module->state || module->delivered >= last) return NULL;
    /* A callback may have forked. */
    ws_check_fork(L, module);
    if (module->cursor == module->end) ws_fetch_records(module, 0, NULL);
    return module->cursor == module->end ? NULL : module->cursor;
}

static recipient find_recipient(lua_State *L, const module_state *module, uint32_t id, const lua_websocket *target)
{
    recipient found = {.id = id};
    lua_settop(L, INDEX_LAST_RECORD);
    lua_rawgeti(L, WS_UP_LIVE, id);
    found.websocket = ws_known_at(L, INDEX_WEBSOCKET);
    if (found.websocket) {
        found.has_handler = lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_HANDLER) != LUA_TNIL;
        found.is_target = found.websocket == target;
    } else {
        lua_pushnil(L);
    }
    found.is_fast = found.has_handler && !found.is_target && !module->is_watched;
    return found;
}

/* Pushes the function for a record and its arguments; returns how many arguments, -1 if a finalizer has polled during
 * the pushes: then that poll has delivered the record. If a push raises, the record remains, and a descriptor of the
 * script must say so: it says that nothing remains while a script serves its own sockets. `is_plain`: see is_plain. */
static inline __attribute__((always_inline)) int push_call(
    lua_State *L, module_state *module, ws_event *event, lua_websocket *ws, bool is_plain)
{
    uint64_t before = module->delivered;
    int type_argument = is_plain || event->type != WS_EVENT_DEBUG;
    if (type_argument) {
        lua_pushvalue(L, INDEX_HANDLER);
        lua_pushinteger(L, event->type);
    } else {
        lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_DEBUG);
    }
    bool is_first_try = module->attempted != before + 1;
    module->attempted = before + 1;
    int values;
    if (is_plain)
        values = ws_push_message(L, module, event);
    else if (is_first_try && !module->is_watched)
        values = ws_push_values(L, module, event);
    else
        values = ws_push_values_protected(L, event, ws, is_first_try);
    if (module->delivered == before) return values + type_argument;
    lua_settop(L, INDEX_HANDLER);
    return -1;
}

/* Keeps the error's text and the info table, which are on top of the stack, for the properties of the websocket
 * (object.c) and for the waits (waits.c). */
static void keep_info(lua_State *L, const ws_event *event, lua_websocket *ws)
{
    if (event->flags & WS_EVENT_ACCEPTED) ws_complete_open(L, ws);
    if (event->type == WS_EVENT_OPEN)
        lua_pushnil(L);
    else
        lua_pushvalue(L, -2);
    if (event->type != WS_EVENT_CLOSE)
        lua_setiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_ERROR);
    else
        lua_pop(L, 1);
    if (event->type != WS_EVENT_OPEN) ws->last_end = event->type == WS_EVENT_CLOSE ? WS_END_CLOSE : WS_END_ERROR;
    if (event->type == WS_EVENT_ERROR) {
        ws->module->descriptor = -1;
        return;
    }
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, INDEX_WEBSOCKET, event->type == WS_EVENT_OPEN ? WS_VALUE_OPENED : WS_VALUE_CLOSED);
    ws->is_open = event->type == WS_EVENT_OPEN;
    ws->opens_delivered += ws->is_open;
}

/* The websocket has no handler: what `receive` returns is kept for it. The record's values are on top of the stack.
 * Returns how many bytes are kept. */
static size_t keep_for_receive(lua_State *L, const ws_event *event, lua_websocket *ws, int arguments)
{
    int type = INDEX_HANDLER + 2; /* above the handler that would be called */
    /* With an info it is the ERROR of a message that Lua has no memory for. */
    if ((event->type == WS_EVENT_TEXT || event->type == WS_EVENT_BINARY) && arguments == 3)
        return ws_put_in_inbox(L, ws, type + 1, type);
    if (event->type == WS_EVENT_CLOSE) {
        lua_pushboolean(L, false);
        ws_put_in_inbox(L, ws, lua_gettop(L), type + 3);
        lua_pop(L, 1);
    }
    return 0;
}

/* Coroutines may wait for this event in websocket.yield, and another one has delivered it. */
static __attribute__((noinline)) void mark_unclaimed(lua_State *L, module_state *module, lua_websocket *ws)
{
    ws_mark_waiting_coroutines(L, ws);
    if (ws->unclaimed) ws_stay_readable(module);
}

/* Runs the timers that are due. Returns whether the delivery ends before its last record. */
static __attribute__((noinline)) bool is_over(
    lua_State *L, module_state *module, lua_Integer count, const delivery *how)
{
    if (module->next_timer == HUGE_VAL && how->until == HUGE_VAL) return how->is_stopped && *how->is_stopped;
    double now = ws_monotonic();
    ws_run_timers(L, module, now, (lua_KContext)count, how->continuation);
    return now >= how->until || (how->is_stopped && *how->is_stopped);
}

/* Delivers one record to its websocket: calls the function, or keeps what `receive` is to return. Returns how many events
 * the script has seen. `is_plain`: see below; the compiler makes a function of its own for these, since they are nearly
 * all. */
static inline __attribute__((always_inline)) int deliver_record(
    lua_State *L, module_state *module, ws_event *event, const recipient *to, lua_Integer count, lua_KFunction continuation,
    bool is_plain)
{
    lua_websocket *ws = to->websocket;
    bool is_called = is_plain || to->has_handler || event->type == WS_EVENT_DEBUG;
    int arguments = push_call(L, module, event, ws, is_plain);
    if (arguments < 0) return 0;
    if (is_called && !ws_keep_call_reserved(L, module)) {
        lua_settop(L, INDEX_HANDLER);
        return 0;
    }
    if (!is_plain && event->type >= WS_EVENT_OPEN && event->type <= WS_EVENT_ERROR) keep_info(L, event, ws);
    if (!is_called) {
        size_t kept = keep_for_receive(L, event, ws, arguments);
        advance_cursor(L, module, event, ws, kept);
        lua_settop(L, INDEX_HANDLER);
        return 1;
    }
    if (is_plain || event->type != WS_EVENT_DEBUG) {
        /* The fourth argument is the info, if there is one; the fifth the websocket. */
        if (is_plain || arguments == 3) lua_pushnil(L);
        lua_pushvalue(L, INDEX_WEBSOCKET);
        arguments = 5;
    }
    advance_cursor(L, module, event, ws, 0);
    ws_show(module);
    lua_callk(L, arguments, 0, (lua_KContext)(count + 1), continuation);
    return 1;
}

/* Calls onattempt. Returns how many functions were called. */
static int ask(lua_State *L, module_state *module, ws_event *event, lua_websocket *ws, lua_Integer count,
               lua_KFunction continuation)
{
    uint64_t before = module->delivered;
    int arguments = ws_push_question(L, event);
    /* A finalizer has polled, and that poll has delivered the record. */
    if (module->delivered != before || !ws_keep_call_reserved(L, module)) {
        lua_settop(L, INDEX_HANDLER);
        return 0;
    }
    ws_begin_question(L);
    advance_cursor(L, module, event, ws, 0);
    ws_show(module);
    lua_callk(L, arguments, 1, (lua_KContext)(count + 1), continuation);
    ws_take_answer(L);
    return 1;
}

/* Delivers any record, also to a websocket that a script waits for. */
static __attribute__((noinline)) int deliver_other(
    lua_State *L, module_state *module, ws_event *event, const recipient *to, lua_Integer count, lua_KFunction continuation)
{
    lua_websocket *ws = to->websocket;
    if (!ws) return ws_deliver_server_record(L, module, event, count, continuation);
    if (ws->waiting_coroutines) mark_unclaimed(L, module, ws);
    /* The script may have called the websocket's __gc. */
    if (!ws->engine_side) ws = NULL;
    if (ws && event->type == WS_EVENT_ATTEMPT) return ask(L, module, event, ws, count, continuation);
    if (ws && event->type < WS_EVENT_UNSEEN)
        return deliver_record(L, module, event, to, count, continuation, false);
    advance_cursor(L, module, event, ws, 0);
    return 0;
}

/* Whether it is a message for a handler, at the first try, whose values may be pushed unprotected. */
static inline bool is_plain(const module_state *module, const ws_event *event, const recipient *to)
{
    bool is_message = event->type == WS_EVENT_TEXT || event->type == WS_EVENT_BINARY;
    return is_message && to->is_fast && !to->websocket->waiting_coroutines && to->websocket->engine_side &&
           module->attempted != module->delivered + 1;
}

lua_Integer ws_deliver_on(lua_State *L, module_state *module, lua_Integer count, const delivery *how)
{
    if (lua_gettop(L) > INDEX_HANDLER) (ws_is_request(L) ? ws_take_request_answer : ws_take_answer)(L);
    uint64_t last = (uint64_t)lua_tointeger(L, INDEX_LAST_RECORD);
    lua_settop(L, INDEX_LAST_RECORD);
    /* A callback inside as many deliveries as there may be has resumed the coroutine: the next poll delivers the rest. */
    if (ws_is_too_deep(module)) return count;
    ws_reserve_call(L);
    return ws_deliver(L, module, last, count, how);
}

lua_Integer ws_deliver(lua_State *L, module_state *module, uint64_t last, lua_Integer count, const delivery *how)
{
    recipient to = {0};
    size_t outer = module->nested_count;
    if (!outer) module->nested_thread = pthread_self();
    module->nested[module->nested_count++] = __builtin_frame_address(0);
    bool may_end = how->is_stopped || how->until < HUGE_VAL;
    while (!((may_end || module->timer_count) && is_over(L, module, count, how))) {
        ws_event *event = next_record(L, module, last);
        if (!event) break;
        if (event->socket != to.id) to = find_recipient(L, module, event->socket, how->target);
        if (is_plain(module, event, &to)) {
            count += deliver_record(L, module, event, &to, count, how->continuation, true);
        } else {
            count += deliver_other(L, module, event, &to, count, how->continuation);
            if (to.is_target) break;
            /* It may have been made just now. */
            if (!to.websocket) to.id = 0;
        }
    }
    module->nested_count = outer;
    ws_report_delivered(module);
    ws_show(module);
    return count;
}
