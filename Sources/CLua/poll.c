/* From the event log to the script's callbacks: poll and run. The log's records are walked in place; one is
 * consumed once Lua has its copy and before the callback is called, so that nothing is lost whatever raises,
 * and nothing is delivered twice. */
#include "bridge.h"
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* Stack positions of a delivery: 1 is the function's own argument. */
enum {
    INDEX_LAST_RECORD = 2,  /* value of module_state.delivered at which this delivery ends */
    INDEX_EMPTY_STRING = 3, /* "" */
    INDEX_WEBSOCKET = 4,    /* websocket of the current record */
    INDEX_HANDLER = 5,      /* its onreceive */
};

void ws_report_delivered(module_state *module)
{
    lua_websocket *owner = module->unreported_owner;
    if (owner && module->unreported_bytes) ws_websocket_delivered(owner->engine_side, module->unreported_bytes);
    module->unreported_owner = NULL;
    module->unreported_bytes = 0;
}

static uint32_t read_length(const char *p)
{
    uint32_t length;
    memcpy(&length, p, sizeof length);
    return length;
}

/* Pushes a table of the fields from `p` on, up to their end or an END; returns where it stopped. */
static const char *push_fields(lua_State *L, const char *p, const char *end)
{
    luaL_checkstack(L, 4, NULL);
    lua_newtable(L);
    lua_Integer next = 1;
    while (p < end) {
        uint8_t tag = (uint8_t)*p++;
        if (tag == WS_INFO_END) break;
        size_t length = (uint8_t)*p++;
        if (length)
            lua_pushlstring(L, p, length);
        else
            lua_pushinteger(L, next++);
        p += length;
        switch (tag) {
        case WS_INFO_STRING: {
            uint32_t count = read_length(p);
            lua_pushlstring(L, p + sizeof count, count);
            p += sizeof count + count;
            break;
        }
        case WS_INFO_INTEGER: {
            int64_t value;
            memcpy(&value, p, sizeof value);
            lua_pushinteger(L, value);
            p += sizeof value;
            break;
        }
        case WS_INFO_NUMBER: {
            double value;
            memcpy(&value, p, sizeof value);
            lua_pushnumber(L, value);
            p += sizeof value;
            break;
        }
        case WS_INFO_BOOLEAN: lua_pushboolean(L, *p++); break;
        case WS_INFO_TABLE: p = push_fields(L, p, end); break;
        }
        lua_rawset(L, -3);
    }
    return p;
}

/* Pushes what a record tells: data, error and info, or a line; returns how many values that are. Each push may collect
 * garbage, and a finalizer may poll: the record is read before the first, and what follows reads a copy. */
static inline __attribute__((always_inline)) int push_values(lua_State *L, const ws_event *event)
{
    const char *payload = (const char *)(event + 1);
    switch (event->type) {
    case WS_EVENT_OPEN:
    case WS_EVENT_CLOSE:
    case WS_EVENT_ERROR: {
        size_t size = event->length;
        payload = lua_pushlstring(L, payload, size);
        uint32_t length = read_length(payload);
        lua_pushvalue(L, INDEX_EMPTY_STRING);
        lua_pushlstring(L, payload + sizeof length, length);
        push_fields(L, payload + sizeof length + length, payload + size);
        lua_remove(L, -4);
        return 3;
    }
    case WS_EVENT_DEBUG: lua_pushlstring(L, payload, event->length); return 1;
    case WS_EVENT_FRAGMENT: {
        uint64_t received;
        memcpy(&received, payload, sizeof received);
        lua_pushvalue(L, INDEX_EMPTY_STRING);
        lua_pushvalue(L, INDEX_EMPTY_STRING);
        lua_createtable(L, 0, 1);
        lua_pushinteger(L, (lua_Integer)received);
        lua_setfield(L, -2, "received");
        return 3;
    }
    default:
        if (event->flags & WS_EVENT_DETACHED) {
            ws_block block;
            memcpy(&block, payload, sizeof block);
            payload = block.bytes;
        }
        lua_pushlstring(L, payload, event->length);
        lua_pushvalue(L, INDEX_EMPTY_STRING);
        return 2;
    }
}

/* Takes what is queued, or waits for it (ws_state_fetch), unless there is still something to deliver. */
static void fetch_records(module_state *module, double limit, const sigset_t *mask)
{
    if (module->cursor != module->end) return;
    size_t count;
    ws_slice log = ws_state_fetch(module->state, limit, mask, &count);
    module->cursor = log.bytes;
    module->end = log.bytes + log.count;
    module->fetched += count;
}

/* Gives a message's memory back; returns how many bytes it had. */
static size_t return_block(module_state *module, ws_event *event)
{
    size_t length = event->length;
    ws_block block;
    memcpy(&block, event + 1, sizeof block);
    event->flags &= (uint8_t)~WS_EVENT_DETACHED;
    event->length = sizeof block; /* what is left of it */
    ws_state_return_block(module->state, block);
    return length;
}

/* Nothing follows from any of its connects; the script may start it again. */
static void mark_ended(lua_State *L, module_state *module, lua_websocket *ws)
{
    ws_report_delivered(module);
    ws->started = false;
    module->live--;
    lua_pushnil(L);
    lua_rawseti(L, WS_UP_LIVE, ws->id);
}

/* Moves past the record: from now on it is the script's. */
static inline __attribute__((always_inline)) void advance_cursor(
    lua_State *L, module_state *module, ws_event *event, lua_websocket *ws)
{
    size_t size = ws_event_size(event);
    module->cursor += size;
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

/* Pushes what a record tells; called with the record, and "" at INDEX_EMPTY_STRING. */
static __attribute__((cold)) int push_in_call(lua_State *L) { return push_values(L, lua_touserdata(L, 1)); }

/* Pushes what the script is told instead of a message that Lua has no memory for. */
static int push_lost_message(lua_State *L, lua_websocket *ws, size_t length)
{
    lua_pop(L, 1);
    lua_pushinteger(L, WS_EVENT_ERROR);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    lua_pushfstring(L,
                    "Lua has no memory for a message of %I bytes, which is lost; the connection is closed (1009). A smaller "
                    "maxmessagesize refuses such messages before they take memory",
                    (LUAI_UACINT)length);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "size");
    lua_setfield(L, -2, "kind");
    /* A finalizer may have ended it meanwhile. */
    if (ws->engine_side) ws_websocket_refuse(ws->engine_side, length, ws->opens_delivered);
    return 3;
}

/* The second try at a record whose first has raised: a message that Lua has no memory for would be tried for ever, and
 * nothing behind it be delivered. The type is on top of the stack, to be replaced. */
static __attribute__((noinline, cold)) int push_values_again(lua_State *L, const ws_event *event, lua_websocket *ws)
{
    size_t length = event->length;
    bool is_message = event->type == WS_EVENT_TEXT || event->type == WS_EVENT_BINARY;
    uint64_t before = ws->module->delivered;
    int top = lua_gettop(L);
    lua_pushcfunction(L, push_in_call);
    lua_pushlightuserdata(L, (void *)event);
    lua_pushnil(L);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    if (lua_pcall(L, 3, LUA_MULTRET, 0) == LUA_OK) return lua_gettop(L) - top;
    if (!is_message) lua_error(L);
    lua_settop(L, top);
    /* A finalizer has polled: the record was delivered by then. */
    if (ws->module->delivered != before) return 0;
    return push_lost_message(L, ws, length);
}

static int empty_function(lua_State *L)
{
    (void)L;
    return 0;
}

static void call_empty_function(lua_State *L)
{
    lua_pushcfunction(L, empty_function);
    lua_call(L, 0, 0);
}

/* A debug hook, as the interpreter's own for Ctrl-C, runs at a call: without one, an endless wait could not be
 * ended. */
static void run_hooks(lua_State *L)
{
    if (lua_gethook(L)) call_empty_function(L);
}

/* Delivers up to the record counted by INDEX_LAST_RECORD; `n` were delivered so far. Returns how many in the end. */
static lua_Integer deliver(lua_State *L, module_state *module, lua_Integer n, lua_KFunction continuation)
{
    uint64_t last = (uint64_t)lua_tointeger(L, INDEX_LAST_RECORD);
    /* Whose websocket and handler are on the stack. */
    uint32_t current = 0;
    lua_websocket *owner = NULL;
    bool is_handled = false;
    lua_settop(L, INDEX_EMPTY_STRING);
    /* What it takes to call a handler is there before a record is consumed: the stack for any Lua function, a call
     * frame, and one more call before C's stack is at its limit. A hook runs here, too. */
    luaL_checkstack(L, 280, NULL);
    call_empty_function(L);
    /* A coroutine may be resumed by a finalizer when the state is gone. */
    while (module->state && module->delivered < last) {
        /* A callback may have forked. */
        ws_check_fork(L, module);
        fetch_records(module, 0, NULL);
        if (module->cursor == module->end) break;
        ws_event *event = (ws_event *)module->cursor;
        if (event->socket != current) {
            lua_settop(L, INDEX_EMPTY_STRING);
            lua_rawgeti(L, WS_UP_LIVE, event->socket);
            owner = lua_touserdata(L, INDEX_WEBSOCKET);
            if (owner)
                is_handled = lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_HANDLER) != LUA_TNIL;
            else
                lua_pushnil(L);
            current = event->socket;
        }
        /* It may have been finalised by hand. */
        lua_websocket *ws = owner && owner->engine_side ? owner : NULL;
        if (ws && event->type != WS_EVENT_ENDED) {
            uint64_t before = module->delivered;
            bool is_debug = event->type == WS_EVENT_DEBUG;
            if (is_debug) {
                lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_DEBUG);
            } else {
                lua_pushvalue(L, INDEX_HANDLER);
                lua_pushinteger(L, event->type);
            }
            int values;
            if (module->attempted != before + 1) {
                module->attempted = before + 1;
                values = push_values(L, event);
            } else {
                values = push_values_again(L, event, ws);
            }
            int arguments = values + !is_debug;
            if (module->delivered != before) {
                /* A finalizer has polled: the record was delivered by then. */
                lua_settop(L, INDEX_HANDLER);
                continue;
            }
            if (event->type == WS_EVENT_OPEN || event->type == WS_EVENT_CLOSE) {
                lua_pushvalue(L, -1);
                lua_setiuservalue(L, INDEX_WEBSOCKET, event->type == WS_EVENT_OPEN ? WS_VALUE_OPENED : WS_VALUE_CLOSED);
                ws->opens_delivered += event->type == WS_EVENT_OPEN;
            }
            n++;
            advance_cursor(L, module, event, ws);
            if (is_handled || is_debug) {
                lua_callk(L, arguments, 0, (lua_KContext)n, continuation);
            } else {
                lua_settop(L, INDEX_HANDLER);
            }
        } else {
            advance_cursor(L, module, event, ws);
        }
    }
    ws_report_delivered(module);
    return n;
}

static double monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Waits for the first event; returns when it began. A signal whose handler sets a hook, as the interpreter's own for
 * Ctrl-C does, ends the wait whenever it comes: from the last look at the hook to the wait itself it is blocked. That
 * takes two system calls; most waits are brief, and those do without. */
static double wait_for_events(lua_State *L, module_state *module, double seconds)
{
    const double brief = 0.1;
    double start = monotonic();
    fetch_records(module, start + fmin(seconds, brief), NULL);
    /* A wait may end a rounding before its time: that is no signal. */
    const double rounding = 1e-6;
    if (module->cursor != module->end || seconds <= brief || monotonic() < start + brief - rounding) return start;
    sigset_t all, before;
    sigfillset(&all);
    for (;;) {
        lua_Hook hook = lua_gethook(L);
        run_hooks(L);
        ws_check_fork(L, module);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        bool is_quiet = lua_gethook(L) == hook;
        if (is_quiet) fetch_records(module, start + seconds, &before);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (is_quiet) return start;
    }
}

/* Takes what is there, or waits for the first event, and prepares the stack for delivering that and no more. Returns
 * when the wait began. */
static double prepare_delivery(lua_State *L, module_state *module, double seconds)
{
    double start = 0;
    /* The last callback may have forked. */
    ws_check_fork(L, module);
    module->polls++;
    ws_report_delivered(module);
    /* Something is left where a callback has raised, or polls. */
    size_t more = module->cursor == module->end ? 0 : ws_state_queued(module->state);
    if (seconds > 0)
        start = wait_for_events(L, module, seconds);
    else
        fetch_records(module, 0, NULL);
    uint64_t last = module->fetched + more;
    lua_settop(L, 1);
    lua_pushinteger(L, (lua_Integer)last);
    lua_pushliteral(L, "");
    return start;
}

static double check_timeout(lua_State *L, double standard)
{
    lua_Number seconds = luaL_optnumber(L, 1, standard);
    luaL_argcheck(L, !isnan(seconds), 1, "a time in seconds expected, got NaN");
    return seconds;
}

static int poll_continues(lua_State *L, int status, lua_KContext n)
{
    (void)status;
    lua_pushinteger(L, deliver(L, ws_module(L), (lua_Integer)n, poll_continues));
    return 1;
}

/* websocket.poll([timeout]) -> events delivered */
int ws_poll(lua_State *L)
{
    double seconds = check_timeout(L, 0);
    module_state *module = ws_module(L);
    if (!module->state) {
        lua_pushinteger(L, 0);
        return 1;
    }
    for (;;) {
        uint64_t before = module->delivered;
        double start = prepare_delivery(L, module, seconds);
        lua_Integer n = deliver(L, module, 0, poll_continues);
        /* The end of what was closed while it connected is no event of the script's. */
        if (n == 0 && module->delivered != before && seconds > 0 && module->state) {
            seconds = start + seconds - monotonic();
            if (seconds > 0) continue;
        }
        lua_pushinteger(L, n);
        return 1;
    }
}

static int run_continues(lua_State *L, int status, lua_KContext n);

/* The first argument has become the time at which to stop. */
static int run_on(lua_State *L)
{
    module_state *module = ws_module(L);
    while (ws_module(L)->live) {
        double left = lua_tonumber(L, 1) - monotonic();
        prepare_delivery(L, module, left);
        run_hooks(L);
        deliver(L, module, 0, run_continues);
        if (left <= 0) break;
    }
    lua_pushboolean(L, module->live == 0);
    return 1;
}

static int run_continues(lua_State *L, int status, lua_KContext n)
{
    (void)status;
    deliver(L, ws_module(L), (lua_Integer)n, run_continues);
    return run_on(L);
}

/* websocket.run([timeout]) -> whether no websocket is live */
int ws_run(lua_State *L)
{
    double stop = monotonic() + check_timeout(L, HUGE_VAL);
    lua_settop(L, 0);
    lua_pushnumber(L, stop);
    return run_on(L);
}
