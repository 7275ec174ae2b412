/* Delivers fetched records to the script's callbacks, on the thread that called poll or run (poll.c). A record is
 * consumed once Lua has its values and before the callback is called: if anything raises, no record is lost and none is
 * delivered twice. */
#include "deliver.h"

/* The websocket of the current record; it stands at INDEX_WEBSOCKET, its handler at INDEX_HANDLER. */
typedef struct recipient {
    uint32_t id;              /* 0: none was looked up */
    lua_websocket *websocket; /* NULL if it is not live */
    bool has_handler;
} recipient;

void ws_report_delivered(module_state *module)
{
    lua_websocket *owner = module->unreported_owner;
    if (owner && module->unreported_bytes) ws_websocket_delivered(owner->engine_side, module->unreported_bytes);
    module->unreported_owner = NULL;
    module->unreported_bytes = 0;
}

/* Returns a message's memory to the engine; returns how many bytes the message had. */
static size_t return_block(module_state *module, ws_event *event)
{
    size_t length = event->length;
    ws_block block = *ws_event_block(event);
    event->flags &= (uint8_t)~WS_EVENT_DETACHED;
    event->length = sizeof block; /* the record's size stays the same */
    ws_state_return_block(module->state, block);
    return length;
}

/* The last record of all its connect() calls was delivered: the script may start it again. */
static void mark_ended(lua_State *L, module_state *module, lua_websocket *ws)
{
    ws_report_delivered(module);
    ws->started = false;
    module->live--;
    lua_pushnil(L);
    lua_rawseti(L, WS_UP_LIVE, ws->id);
}

/* Moves past the record, which was delivered to `ws`; NULL: to nobody. */
static inline __attribute__((always_inline)) void advance_cursor(
    lua_State *L, module_state *module, ws_event *event, lua_websocket *ws)
{
    size_t size = ws_event_size(event);
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

/* Reserves what a call of a handler takes, so that it can't fail once a record is consumed: stack for any Lua function,
 * a CallInfo, and one more level before the limit of C calls. A debug hook runs here, too. */
static void reserve_call(lua_State *L)
{
    luaL_checkstack(L, 280, NULL);
    ws_call_empty_function(L);
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

static recipient find_recipient(lua_State *L, uint32_t id)
{
    recipient found = {.id = id};
    lua_settop(L, INDEX_EMPTY_STRING);
    lua_rawgeti(L, WS_UP_LIVE, id);
    found.websocket = lua_touserdata(L, INDEX_WEBSOCKET);
    if (found.websocket)
        found.has_handler = lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_HANDLER) != LUA_TNIL;
    else
        lua_pushnil(L);
    return found;
}

/* Pushes the function for a record and its arguments; returns how many arguments, -1 if a finalizer has polled during
 * the pushes: then that poll has delivered the record. */
static inline __attribute__((always_inline)) int push_call(
    lua_State *L, module_state *module, ws_event *event, lua_websocket *ws)
{
    uint64_t before = module->delivered;
    int type_argument = event->type != WS_EVENT_DEBUG;
    if (type_argument) {
        lua_pushvalue(L, INDEX_HANDLER);
        lua_pushinteger(L, event->type);
    } else {
        lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_DEBUG);
    }
    bool is_first_try = module->attempted != before + 1;
    module->attempted = before + 1;
    int values;
    if (!is_first_try)
        values = ws_push_values_again(L, event, ws);
    else if (event->type == WS_EVENT_TEXT || event->type == WS_EVENT_BINARY)
        values = ws_push_message(L, event);
    else
        values = ws_push_values(L, event);
    if (module->delivered == before) return values + type_argument;
    lua_settop(L, INDEX_HANDLER);
    return -1;
}

/* Keeps the info table on top of the stack, for the properties of the websocket (object.c). */
static void keep_info(lua_State *L, const ws_event *event, lua_websocket *ws)
{
    bool is_open = event->type == WS_EVENT_OPEN;
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, INDEX_WEBSOCKET, is_open ? WS_VALUE_OPENED : WS_VALUE_CLOSED);
    ws->opens_delivered += is_open;
}

lua_Integer ws_deliver(lua_State *L, module_state *module, lua_Integer count, lua_KFunction continuation)
{
    uint64_t last = (uint64_t)lua_tointeger(L, INDEX_LAST_RECORD);
    recipient to = {0};
    lua_settop(L, INDEX_EMPTY_STRING);
    reserve_call(L);
    ws_event *event;
    while ((event = next_record(L, module, last))) {
        if (event->socket != to.id) to = find_recipient(L, event->socket);
        /* The script may have called the websocket's __gc. */
        lua_websocket *ws = to.websocket && to.websocket->engine_side ? to.websocket : NULL;
        if (!ws || event->type == WS_EVENT_ENDED) {
            advance_cursor(L, module, event, ws);
            continue;
        }
        bool is_called = to.has_handler || event->type == WS_EVENT_DEBUG;
        int arguments = push_call(L, module, event, ws);
        if (arguments < 0) continue;
        if (event->type == WS_EVENT_OPEN || event->type == WS_EVENT_CLOSE) keep_info(L, event, ws);
        count++;
        advance_cursor(L, module, event, ws);
        if (is_called)
            lua_callk(L, arguments, 0, (lua_KContext)count, continuation);
        else
            lua_settop(L, INDEX_HANDLER);
    }
    ws_report_delivered(module);
    return count;
}
