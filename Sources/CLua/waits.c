/* What the waits of waits.lua need of the module, as functions of Lua; and the loading of that chunk. All of it runs on the
 * thread that runs the Lua state. A websocket without onreceive keeps its messages in an inbox: a table, in its user
 * values, of pairs (data, type); a CLOSE stands there as (false, info). */
#include "deliver.h"
#include <math.h>

static const char source[] = {
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"
#embed "waits.lua"
#pragma clang diagnostic pop
};

/* ---- The inbox. */

/* Bytes that are kept of what comes after the script has called close(). */
static const size_t most_after_close = 16 << 20;

/* Sets both elements of a pair: the arguments are the inbox and the position of the first. */
int ws_make_room_function(lua_State *L)
{
    lua_Integer first = lua_tointeger(L, 2);
    for (int i = 0; i < 2; i++) {
        lua_pushboolean(L, false);
        lua_rawseti(L, 1, first + i);
    }
    return 0;
}

/* Lets the inbox, on top of the stack, grow by a pair. If that raises, the script's descriptor says that a record remains. */
static void make_room(lua_State *L, module_state *module, lua_Integer first)
{
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_MAKE_ROOM);
    lua_pushvalue(L, -2);
    lua_pushinteger(L, first);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
    ws_show(module);
    lua_error(L);
}

size_t ws_put_in_inbox(lua_State *L, lua_websocket *ws, int data, int type)
{
    size_t length = lua_type(L, data) == LUA_TSTRING ? lua_rawlen(L, data) : 0;
    if (!ws->started && length && ws->inbox_bytes + length > most_after_close) return 0;
    lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_INBOX);
    /* What raises leaves the inbox as it was: only the count makes the pair a part of it. */
    lua_Integer first = 2 * (ws->inbox_first + ws->inbox_count) + 1;
    if (ws->module->is_watched) make_room(L, ws->module, first);
    lua_pushvalue(L, data);
    lua_rawseti(L, -2, first);
    lua_pushvalue(L, type);
    lua_rawseti(L, -2, first + 1);
    lua_pop(L, 1);
    ws->inbox_count++;
    ws->inbox_bytes += length;
    if (!ws->started) {
        ws->inbox_reported++;
        return 0;
    }
    ws->inbox_unreported += length;
    return length;
}

void ws_report_inbox(lua_websocket *ws)
{
    if (ws->inbox_unreported) ws_websocket_delivered(ws->engine_side, ws->inbox_unreported);
    ws->inbox_unreported = 0;
    ws->inbox_reported = ws->inbox_count;
}

enum { INBOX = 2, INBOX_DATA, INBOX_TYPE };

/* Puts the inbox and its oldest pair at INBOX and the positions behind it. */
static void push_pair(lua_State *L, lua_websocket *ws)
{
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, WS_VALUE_INBOX);
    lua_rawgeti(L, INBOX, 2 * ws->inbox_first + 1);
    lua_rawgeti(L, INBOX, 2 * ws->inbox_first + 2);
}

/* Removes the oldest pair, which stands where push_pair has put it. Nothing here can raise. */
static void remove_pair(lua_State *L, lua_websocket *ws)
{
    for (int i = 1; i <= 2; i++) {
        lua_pushnil(L);
        lua_rawseti(L, INBOX, 2 * ws->inbox_first + i);
    }
    ws->inbox_first = --ws->inbox_count ? ws->inbox_first + 1 : 0;
    size_t length = lua_type(L, INBOX_DATA) == LUA_TSTRING ? lua_rawlen(L, INBOX_DATA) : 0;
    ws->inbox_bytes -= length;
    if (ws->inbox_reported) {
        ws->inbox_reported--;
    } else if (length) {
        ws->inbox_unreported -= length;
        if (ws->engine_side) ws_websocket_delivered(ws->engine_side, length);
    }
}

static lua_websocket *websocket_at_1(lua_State *L) { return ws_known_at(L, 1); }

/* Pushes why the websocket is not open: the code and the reason of its last end. */
static int push_end(lua_State *L)
{
    ws_end end = websocket_at_1(L)->last_end;
    lua_settop(L, 1);
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    switch (end) {
    case WS_END_UNKNOWN: return 2;
    case WS_END_CLOSE:
        lua_getiuservalue(L, 1, WS_VALUE_CLOSED);
        lua_getfield(L, -1, "code");
        lua_getfield(L, -2, "reason");
        lua_remove(L, -3);
        break;
    case WS_END_ERROR:
        lua_pushinteger(L, 1006);
        lua_getiuservalue(L, 1, WS_VALUE_ERROR);
    }
    return 4;
}

/* take(ws) -> data, type | nil, "closed", code, reason | nothing: none has come yet */
static int take(lua_State *L)
{
    lua_websocket *ws = websocket_at_1(L);
    lua_settop(L, 1);
    if (!ws->inbox_count) return ws->starts ? 0 : push_end(L);
    push_pair(L, ws);
    int results = 2;
    if (lua_type(L, INBOX_DATA) != LUA_TSTRING) {
        lua_pushnil(L);
        lua_pushliteral(L, "closed");
        lua_getfield(L, INBOX_TYPE, "code");
        lua_getfield(L, INBOX_TYPE, "reason");
        results = 4;
    }
    remove_pair(L, ws);
    return results;
}

/* opened(ws) -> true | nil, reason | nothing: not yet */
static int opened(lua_State *L)
{
    lua_websocket *ws = websocket_at_1(L);
    /* After close and connect, the connection that is open is the one before. */
    if (ws->is_open && ws->started && ws->starts == 1) {
        lua_pushboolean(L, true);
        return 1;
    }
    if (ws->started) return 0;
    lua_pushnil(L);
    if (ws->starts || ws->last_end == WS_END_UNKNOWN || lua_getiuservalue(L, 1, WS_VALUE_ERROR) != LUA_TSTRING)
        lua_pushliteral(L, "closed");
    return 2;
}

/* flushed(ws, bytes) -> true: no more than `bytes` wait, or there is no connection | nothing: more wait */
static int flushed(lua_State *L)
{
    lua_websocket *ws = websocket_at_1(L);
    lua_Number bytes = lua_tonumber(L, 2);
    int64_t limit = bytes >= 1e15 ? INT64_MAX : bytes > 0 ? (int64_t)bytes : 0;
    switch (ws->engine_side ? ws_websocket_flush(ws->engine_side, limit) : WS_NO_CONNECTION) {
    case WS_FLUSHED: break;
    case WS_FLUSHING: return 0;
    case WS_NO_CONNECTION:
        if (ws->is_open) return 0; /* its CLOSE, which is queued, tells how much was lost */
    }
    lua_pushboolean(L, true);
    return 1;
}

/* connection(ws) -> the number of the open connection, or nil */
static int connection(lua_State *L)
{
    lua_websocket *ws = websocket_at_1(L);
    if (!ws->is_open) return 0;
    lua_pushinteger(L, ws->opens_delivered);
    return 1;
}

/* unsent(ws) -> bytes that the last connection has lost */
static int unsent(lua_State *L)
{
    if (lua_getiuservalue(L, 1, WS_VALUE_CLOSED) == LUA_TTABLE)
        lua_getfield(L, -1, "unsent");
    else
        lua_pushinteger(L, 0);
    return 1;
}

static int is_websocket(lua_State *L)
{
    lua_pushboolean(L, ws_at(L, 1) != NULL);
    return 1;
}

static int has_handler(lua_State *L)
{
    lua_pushboolean(L, lua_getiuservalue(L, 1, WS_VALUE_HANDLER) != LUA_TNIL);
    return 1;
}

/* ---- Coroutines. */

/* Whether poll does anything. */
static int can_poll(lua_State *L)
{
    module_state *module = ws_module(L);
    lua_pushboolean(L, module->state && !ws_is_too_deep(module));
    return 1;
}

static int in_coroutine(lua_State *L)
{
    lua_pushboolean(L, !lua_pushthread(L));
    return 1;
}

/* Pushes the coroutines that wait for the websocket at `index`; nil before the first has waited. */
static int push_waiting(lua_State *L, int index) { return lua_getiuservalue(L, index, WS_VALUE_WAITING); }

/* Takes this coroutine out of the table at index 2, if it stands there. */
static void stop_waiting(lua_State *L, lua_websocket *ws)
{
    lua_pushthread(L);
    bool waits = lua_rawget(L, 2) != LUA_TNIL;
    bool is_unclaimed = waits && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!waits) return;
    lua_pushthread(L);
    lua_pushnil(L);
    lua_rawset(L, 2);
    ws->waiting_coroutines--;
    /* A fork or the end of the state has set the count to 0. */
    if (is_unclaimed && ws->unclaimed) ws_set_unclaimed(ws, ws->unclaimed - 1);
}

/* begin_yield(ws or nil): from here on another coroutine may deliver the event that this one waits for. */
static int begin_yield(lua_State *L)
{
    if (lua_isnil(L, 1)) return 0;
    if (push_waiting(L, 1) == LUA_TNIL) {
        lua_settop(L, 1);
        lua_newtable(L);
        lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_WEAK_METATABLE);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, WS_VALUE_WAITING);
    }
    lua_websocket *ws = websocket_at_1(L);
    stop_waiting(L, ws); /* an error that the script has caught may have ended its last wait */
    lua_pushthread(L);
    lua_pushboolean(L, true);
    lua_rawset(L, 2);
    ws->waiting_coroutines++;
    return 0;
}

static int end_yield(lua_State *L)
{
    if (lua_isnil(L, 1)) return 0;
    push_waiting(L, 1);
    stop_waiting(L, websocket_at_1(L));
    return 0;
}

/* Whether the coroutine waits in websocket.yield for an event of this websocket: then waits.lua's yield is on its stack, with
 * the websocket as the first variable. An error that was raised there, perhaps caught since, leaves nothing of the kind. */
static bool is_in_yield(lua_State *coroutine, const ws_handle *handle, const void *yield)
{
    int status = lua_status(coroutine);
    if (status != LUA_OK && status != LUA_YIELD) return false;
    lua_Debug call;
    for (int level = 0; lua_getstack(coroutine, level, &call); level++) {
        lua_getinfo(coroutine, "f", &call);
        bool is_yield = lua_topointer(coroutine, -1) == yield;
        lua_pop(coroutine, 1);
        if (!is_yield || !lua_getlocal(coroutine, &call, 1)) continue;
        bool is_for_this = lua_touserdata(coroutine, -1) == handle;
        lua_pop(coroutine, 1);
        if (is_for_this) return true;
    }
    return false;
}

void ws_mark_waiting_coroutines(lua_State *L, lua_websocket *ws)
{
    uint32_t count = 0;
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_YIELD);
    const void *yield = lua_topointer(L, -1);
    const ws_handle *handle = lua_touserdata(L, INDEX_WEBSOCKET);
    lua_pop(L, 1);
    int table = lua_gettop(L) + 1;
    push_waiting(L, INDEX_WEBSOCKET);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        bool waits = is_in_yield(lua_tothread(L, -2), handle, yield);
        count += waits;
        lua_pushvalue(L, -2);
        if (waits)
            lua_pushboolean(L, false);
        else
            lua_pushnil(L);
        lua_rawset(L, table);
    }
    lua_settop(L, table - 1);
    ws->waiting_coroutines = count;
    ws_set_unclaimed(ws, count);
}

/* earlier(deadline) -> the deadline or the time of the next timer */
static int earlier(lua_State *L)
{
    lua_pushnumber(L, fmin(lua_tonumber(L, 1), ws_module(L)->next_timer));
    return 1;
}

const luaL_Reg ws_wait_functions[] = {
    {"time", ws_time},              {"step", ws_step},
    {"fd", ws_loop_fd},             {"wait", ws_wait_for_descriptor},
    {"take", take},                 {"opened", opened},
    {"flushed", flushed},           {"connection", connection},
    {"unsent", unsent},             {"is_websocket", is_websocket},
    {"has_handler", has_handler},   {"can_poll", can_poll},
    {"in_coroutine", in_coroutine}, {"begin_yield", begin_yield},
    {"end_yield", end_yield},       {"earlier", earlier},
    {"begin_run", ws_begin_run},    {"is_over", ws_is_over},
    {"is_idle", ws_is_module_idle}, {NULL, NULL},
};

void ws_push_waits(lua_State *L)
{
    if (luaL_loadbuffer(L, source, sizeof source, "=websocket") != LUA_OK) lua_error(L);
}
