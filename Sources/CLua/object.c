/* The websocket as a script sees it: constructor, methods, properties. Lua calls these functions on the thread that
 * runs its state; they check the arguments and call Swift. */
#include "bridge.h"
#include <string.h>

/* Returns the websocket at index 1, or raises. */
static inline __attribute__((always_inline)) lua_websocket *check_websocket(lua_State *L)
{
    lua_websocket *ws = ws_at(L, 1);
    if (!ws) luaL_typeerror(L, 1, "WebSocket");
    return ws;
}

void *ws_new_handle(lua_State *L, size_t size, int values, const void *tag)
{
    ws_handle *handle = lua_newuserdatauv(L, sizeof *handle, values);
    int index = lua_gettop(L);
    void *memory = lua_newuserdatauv(L, size, 0);
    memset(memory, 0, size);
    *handle = (ws_handle){tag, memory};
    lua_pushlightuserdata(L, memory);
    lua_pushvalue(L, -2);
    lua_rawset(L, WS_UP_PRIVATE);
    lua_setiuservalue(L, index, values);
    return memory;
}

void ws_forget_memory(lua_State *L, void *memory)
{
    lua_pushlightuserdata(L, memory);
    lua_pushnil(L);
    lua_rawset(L, WS_UP_PRIVATE);
}

lua_websocket *ws_new_websocket(lua_State *L, module_state *module)
{
    lua_websocket *ws = ws_new_handle(L, sizeof *ws, WS_VALUES, module);
    ws->module = module;
    lua_pushvalue(L, WS_UP_METATABLE);
    lua_setmetatable(L, -2);
    ws->next = module->websockets;
    ws->prev_next = &module->websockets;
    if (ws->next) ws->next->prev_next = &ws->next;
    module->websockets = ws;
    return ws;
}

int ws_constructor(lua_State *L)
{
    module_state *module = ws_module(L);
    if (!module->state) return luaL_error(L, "WebSocket can't be made while the Lua state closes");
    if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_websocket *ws = ws_new_websocket(L, module);
    /* From here on anything may raise: the finalizer frees the options and the engine's object. */
    ws->options = ws_options_new();
    if (lua_istable(L, 1)) ws_read_options(L, ws->options);
    /* The inbox is made here: while a record is delivered, a finalizer could deliver the same one. */
    if (lua_getiuservalue(L, 2, WS_VALUE_HANDLER) == LUA_TNIL) {
        lua_newtable(L);
        lua_setiuservalue(L, 2, WS_VALUE_INBOX);
    }
    lua_pop(L, 1);
    ws->id = ws_state_new_id(module->state);
    ws->engine_side = ws_websocket_new(module->state, ws->options, ws->id);
    ws_options_free(ws->options);
    ws->options = NULL;
    return 1;
}

/* When the state closes, a finalizer of the script may still call methods after this: they find a closed websocket. */
void ws_release(lua_websocket *ws)
{
    if (!ws->prev_next) return;
    *ws->prev_next = ws->next;
    if (ws->next) ws->next->prev_next = ws->prev_next;
    ws->prev_next = NULL;
    ws->started = false;
    ws->starts = 0;
    ws->is_open = false;
    ws_set_unclaimed(ws, 0);
    if (ws->options) ws_options_free(ws->options);
    if (ws->engine_side) ws_websocket_free(ws->engine_side);
    ws->options = NULL;
    ws->engine_side = NULL;
}

static int finalize(lua_State *L)
{
    lua_websocket *ws = check_websocket(L);
    module_state *module = ws->module;
    if (module->unreported_owner == ws) ws_report_delivered(module);
    if (lua_rawgeti(L, WS_UP_LIVE, ws->id) != LUA_TNIL) {
        module->live--;
        lua_pushnil(L);
        lua_rawseti(L, WS_UP_LIVE, ws->id);
        ws_wake_runs_if_idle(L, module);
    }
    ws_release(ws);
    ws_forget_memory(L, ws);
    return 0;
}

static int connect(lua_State *L)
{
    lua_websocket *ws = check_websocket(L);
    if (ws->is_accepted) return luaL_error(L, "WebSocket was accepted by a server, and can't connect");
    if (ws->started) return 0;
    if (!ws->engine_side) return luaL_error(L, "WebSocket can't connect: the Lua state closes");
    if (lua_getiuservalue(L, 1, WS_VALUE_URL) == LUA_TNIL)
        return luaL_error(L, "WebSocket has no url to connect to; make it with WebSocket{url = …}");
    /* Before it starts, since the table may have to grow, which may raise. */
    lua_rawgeti(L, WS_UP_LIVE, ws->id);
    bool known = !lua_isnil(L, -1);
    lua_pushvalue(L, 1);
    lua_rawseti(L, WS_UP_LIVE, ws->id);
    ws_failure failure;
    if (!ws_websocket_connect(ws->engine_side, &failure)) {
        if (!known) {
            lua_pushnil(L);
            lua_rawseti(L, WS_UP_LIVE, ws->id);
        }
        return luaL_error(L, "WebSocket can't connect: %s", failure.text);
    }
    if (!known) ws_module(L)->live++;
    ws_module(L)->descriptor = -1;
    ws->starts++;
    ws->started = true;
    ws->last_end = WS_END_UNKNOWN;
    return 0;
}

static int close(lua_State *L)
{
    lua_websocket *ws = check_websocket(L);
    lua_Integer code = luaL_optinteger(L, 2, 1000);
    ws_slice reason = {NULL, 0};
    if (!lua_isnoneornil(L, 3)) reason.bytes = luaL_checklstring(L, 3, &reason.count);
    ws_failure failure;
    if (!ws_may_close(code, reason, &failure)) return luaL_error(L, "%s", failure.text);
    if (!ws->started) return 0;
    ws->started = false;
    ws_report_inbox(ws);
    ws_websocket_close(ws->engine_side, (uint16_t)code, reason);
    return 0;
}

/* For a `<close>` variable Lua passes the error as the second argument. */
static int close_variable(lua_State *L)
{
    lua_settop(L, 1);
    return close(L);
}

static int send_message(lua_State *L, uint8_t opcode, const char *what)
{
    enum { most_parts = 16 }; /* more are joined by Lua */
    lua_websocket *ws = check_websocket(L);
    module_state *module = ws->module;
    int count = lua_gettop(L) - 1;
    ws_slice parts[most_parts];
    for (int i = 0; i < count; i++) {
        size_t length;
        const char *bytes = luaL_checklstring(L, i + 2, &length);
        if (i < most_parts) parts[i] = (ws_slice){bytes, length};
    }
    if (count > most_parts) {
        lua_concat(L, count);
        parts[0] = ws_slice_at(L, -1);
        count = 1;
    }
    bool is_first = ws->last_send_poll != module->polls;
    ws->last_send_poll = module->polls;
    ws_failure failure;
    /* The loop thread may not have executed the script's close() yet. */
    if (!ws->started) return luaL_error(L, "WebSocket is not connected, can't send %s", what);
    switch (ws_websocket_send(module->state, ws->engine_side, opcode, parts, (size_t)count, is_first,
                              &failure)) {
    case WS_SENT: return 0;
    case WS_SEND_CLOSED:
        /* A client may go at any time, and the script can't know before its CLOSE. An error would end the server. */
        if (ws->is_accepted && ws->is_open) return 0;
        return luaL_error(L, "WebSocket is not connected, can't send %s", what);
    case WS_SEND_FAILED: break;
    }
    return luaL_error(L, "WebSocket failed to send %s: %s", what, failure.text);
}

static int send_text(lua_State *L) { return send_message(L, 0x1, "text"); }
static int send_binary(lua_State *L) { return send_message(L, 0x2, "data"); }
static int send_ping(lua_State *L) { return send_message(L, 0x9, "ping"); }

/* Pushes a field of the info of the last OPEN or CLOSE event; nil before the first. */
static int push_info(lua_State *L, int value, const char *field)
{
    if (lua_getiuservalue(L, 1, value) == LUA_TTABLE) lua_getfield(L, -1, field);
    return 1;
}

int ws_get_field(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(WS_UPVALUES + 1)) != LUA_TNIL) return 1;
    if (lua_type(L, 2) != LUA_TSTRING) return 1;
    lua_websocket *ws = check_websocket(L);
    size_t length;
    const char *name = lua_tolstring(L, 2, &length);
    if (strlen(name) != length) return 0; /* a name with a zero byte */
    if (!strcmp(name, "url") && !ws->is_accepted) {
        lua_getiuservalue(L, 1, WS_VALUE_URL);
    } else if (!strcmp(name, "state")) {
        lua_pushstring(L, ws->engine_side ? ws_websocket_state(ws->engine_side) : "closed");
    } else if (!strcmp(name, "bufferedamount")) {
        lua_pushinteger(L, ws->engine_side ? (lua_Integer)ws_websocket_bufferedamount(ws->engine_side) : 0);
    } else if (!strcmp(name, "attempts")) {
        lua_pushinteger(L, ws->engine_side ? ws_websocket_attempts(ws->engine_side) : 0);
    } else if (!strcmp(name, "latency")) {
        double latency = ws->engine_side ? ws_websocket_latency(ws->engine_side) : -1;
        if (latency < 0)
            lua_pushnil(L);
        else
            lua_pushnumber(L, latency);
    } else if (!strcmp(name, "protocol") || !strcmp(name, "extensions") || !strcmp(name, "headers") ||
               !strcmp(name, "address") || (ws->is_accepted && (!strcmp(name, "url") || !strcmp(name, "request")))) {
        return push_info(L, WS_VALUE_OPENED, name);
    } else if (!strcmp(name, "server")) {
        lua_getiuservalue(L, 1, WS_VALUE_SERVER);
    } else if (!strcmp(name, "closecode")) {
        return push_info(L, WS_VALUE_CLOSED, "code");
    } else if (!strcmp(name, "closereason")) {
        return push_info(L, WS_VALUE_CLOSED, "reason");
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int set_field(lua_State *L)
{
    return luaL_error(L, "a WebSocket's field '%s' can't be set; options are given to the constructor",
                      luaL_tolstring(L, 2, NULL));
}

static int to_string(lua_State *L)
{
    lua_pushfstring(L, "WebSocket: %p", lua_topointer(L, 1));
    return 1;
}

const luaL_Reg ws_methods[] = {
    {"connect", connect},        {"close", close},        {"sendText", send_text},
    {"sendBinary", send_binary}, {"sendPing", send_ping}, {NULL, NULL},
};

/* All but __index: ws_get_field. */
const luaL_Reg ws_metamethods[] = {
    {"__newindex", set_field}, {"__tostring", to_string}, {"__gc", finalize}, {"__close", close_variable}, {NULL, NULL},
};
