/* The server as a script sees it: websocket.listen, its methods and properties; and the websockets that it accepts, which are
 * made when their first record is delivered. Lua calls these functions on the thread that runs its state. */
#include "deliver.h"
#include <string.h>

static lua_server *check_server(lua_State *L)
{
    ws_handle *handle = lua_touserdata(L, 1);
    bool is_server = handle && lua_rawlen(L, 1) == sizeof *handle && handle->tag == &ws_module(L)->servers;
    if (!is_server) luaL_typeerror(L, 1, "WebSocketServer");
    return handle->memory;
}

/* Pushes a table of the private table. */
static void push_private(lua_State *L, int key) { lua_rawgeti(L, WS_UP_PRIVATE, key); }

/* Sets or, with nil on top of the stack, removes the server of this id. Pops the value. */
static void set_server(lua_State *L, uint32_t id)
{
    push_private(L, WS_PRIVATE_SERVERS);
    lua_insert(L, -2);
    lua_rawseti(L, -2, id);
    lua_pop(L, 1);
}

int ws_listen(lua_State *L)
{
    module_state *module = ws_module(L);
    if (!module->state) return luaL_error(L, "WebSocket server can't listen while the Lua state closes");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_server *server = ws_new_handle(L, sizeof *server, WS_SERVER_VALUES, &module->servers);
    server->module = module;
    push_private(L, WS_PRIVATE_SERVER_METATABLE);
    lua_setmetatable(L, -2);
    server->next = module->servers;
    server->prev_next = &module->servers;
    if (server->next) server->next->prev_next = &server->next;
    module->servers = server;
    /* From here on anything may raise: the finalizer frees the options and the engine's object. */
    server->options = ws_options_new_server();
    ws_read_server_options(L, server->options);
    if (lua_getiuservalue(L, 2, WS_SERVER_HANDLER) == LUA_TNIL)
        return luaL_error(L, "WebSocket server option 'onreceive' is missing");
    lua_pop(L, 1);
    server->id = ws_state_new_id(module->state);
    lua_pushvalue(L, 2);
    set_server(L, server->id);
    ws_failure failure;
    server->engine_side = ws_server_listen(module->state, server->options, server->id, &failure);
    ws_options_free(server->options);
    server->options = NULL;
    if (!server->engine_side) {
        lua_pushnil(L);
        set_server(L, server->id);
        return luaL_error(L, "%s", failure.text);
    }
    server->is_live = true;
    module->live++;
    module->descriptor = -1;
    return 1;
}

/* `run` does not wait for it any more. */
static void end_live(lua_State *L, lua_server *server)
{
    if (!server->is_live) return;
    server->is_live = false;
    server->module->live--;
    ws_wake_runs_if_idle(L, server->module);
}

void ws_release_server(lua_server *server)
{
    if (!server->prev_next) return;
    *server->prev_next = server->next;
    if (server->next) server->next->prev_next = server->prev_next;
    server->prev_next = NULL;
    server->is_live = false;
    if (server->options) ws_options_free(server->options);
    if (server->engine_side) ws_server_free(server->engine_side);
    server->options = NULL;
    server->engine_side = NULL;
}

void ws_reset_servers(lua_State *L, module_state *module)
{
    for (lua_server *server = module->servers; server; server = server->next) {
        server->is_live = false;
        if (server->engine_side) ws_server_reset(server->engine_side);
    }
    if (!L) return;
    static const int tables[] = {WS_PRIVATE_SERVERS, WS_PRIVATE_REQUESTS};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        push_private(L, tables[i]);
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, -4);
        }
        lua_pop(L, 1);
    }
}

static int finalize(lua_State *L)
{
    lua_server *server = check_server(L);
    end_live(L, server);
    if (server->id) {
        lua_pushnil(L);
        set_server(L, server->id);
    }
    ws_release_server(server);
    ws_forget_memory(L, server);
    return 0;
}

static int close(lua_State *L)
{
    lua_server *server = check_server(L);
    lua_Integer code = luaL_optinteger(L, 2, 1001);
    ws_slice reason = {NULL, 0};
    if (!lua_isnoneornil(L, 3)) reason.bytes = luaL_checklstring(L, 3, &reason.count);
    ws_failure failure;
    if (!ws_may_close(code, reason, &failure)) return luaL_error(L, "%s", failure.text);
    if (!server->is_live) return 0;
    /* Else it is live until no OPEN can come any more, so that `run` delivers those that have come, and their CLOSE. */
    if (!ws_server_close(server->engine_side, (uint16_t)code, reason)) end_live(L, server);
    return 0;
}

/* For a `<close>` variable Lua passes the error as the second argument. */
static int close_variable(lua_State *L)
{
    lua_settop(L, 1);
    return close(L);
}

int ws_get_server_field(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(WS_UPVALUES + 1)) != LUA_TNIL) return 1;
    if (lua_type(L, 2) != LUA_TSTRING) return 1;
    lua_server *server = check_server(L);
    ws_server *engine_side = server->engine_side;
    size_t length;
    const char *name = lua_tolstring(L, 2, &length);
    if (strlen(name) != length) return 0; /* a name with a zero byte */
    if (!strcmp(name, "state")) {
        lua_pushstring(L, engine_side ? ws_server_state(engine_side) : "closed");
    } else if (!engine_side) {
        lua_pushnil(L);
    } else if (!strcmp(name, "address")) {
        ws_slice address = ws_server_address(engine_side);
        lua_pushlstring(L, address.bytes, address.count);
    } else if (!strcmp(name, "port")) {
        lua_pushinteger(L, ws_server_port(engine_side));
    } else if (!strcmp(name, "connections")) {
        lua_pushinteger(L, (lua_Integer)ws_server_connections(engine_side));
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int set_field(lua_State *L)
{
    return luaL_error(L, "a WebSocket server's field '%s' can't be set; options are given to websocket.listen",
                      luaL_tolstring(L, 2, NULL));
}

static int to_string(lua_State *L)
{
    lua_pushfstring(L, "WebSocketServer: %p", lua_topointer(L, 1));
    return 1;
}

const luaL_Reg ws_server_methods[] = {{"close", close}, {NULL, NULL}};

/* All but __index: ws_get_server_field. */
const luaL_Reg ws_server_metamethods[] = {
    {"__newindex", set_field}, {"__tostring", to_string}, {"__gc", finalize}, {"__close", close_variable}, {NULL, NULL},
};

/* ---- Records */

/* Replaces what is at INDEX_WEBSOCKET by the server of this id. NULL if there is none. */
static lua_server *find_server(lua_State *L, uint32_t id)
{
    lua_settop(L, INDEX_LAST_RECORD);
    push_private(L, WS_PRIVATE_SERVERS);
    lua_rawgeti(L, -1, id);
    lua_remove(L, -2);
    ws_handle *handle = lua_touserdata(L, INDEX_WEBSOCKET);
    return handle ? handle->memory : NULL;
}

/* Makes the websocket of an OPEN. The record stays, and is the next one to deliver. All that may raise comes first, and if it
 * does, this is called again. */
static void adopt(lua_State *L, module_state *module, ws_event *event)
{
    uint32_t id = event->socket;
    uint64_t before = module->delivered;
    lua_server *server = find_server(L, ws_state_accepted_by(module->state, id));
    if (!server) {
        /* A finalizer has released the server: its connections are being closed. */
        ws_skip_record(L, module, event);
        ws_websocket *websocket = ws_state_take_accepted(module->state, id);
        if (websocket) ws_websocket_free(websocket);
        return;
    }
    lua_websocket *ws = ws_new_websocket(L, module);
    int index = lua_gettop(L);
    lua_getiuservalue(L, INDEX_WEBSOCKET, WS_SERVER_HANDLER);
    lua_setiuservalue(L, index, WS_VALUE_HANDLER);
    lua_getiuservalue(L, INDEX_WEBSOCKET, WS_SERVER_DEBUG);
    lua_setiuservalue(L, index, WS_VALUE_DEBUG);
    lua_pushvalue(L, INDEX_WEBSOCKET);
    lua_setiuservalue(L, index, WS_VALUE_SERVER);
    lua_pushvalue(L, index);
    /* A finalizer that polls may have delivered the record meanwhile, to a websocket of its own. The next call runs none. */
    if (module->delivered != before) return;
    lua_rawseti(L, WS_UP_LIVE, id);
    ws->engine_side = ws_state_take_accepted(module->state, id);
    ws->id = id;
    ws->is_accepted = true;
    ws->started = true;
    ws->starts = 1;
    module->live++;
}

static int debug_line(lua_State *L, module_state *module, ws_event *event, lua_Integer count, lua_KFunction continuation)
{
    uint64_t before = module->delivered;
    if (!find_server(L, event->socket)) {
        ws_skip_record(L, module, event);
        return 0;
    }
    lua_settop(L, INDEX_HANDLER);
    lua_getiuservalue(L, INDEX_WEBSOCKET, WS_SERVER_DEBUG);
    ws_push_bytes(L, ws_event_payload(event), event->length, &module->delivered);
    if (module->delivered != before || !ws_keep_call_reserved(L, module)) return 0;
    ws_skip_record(L, module, event);
    ws_show(module);
    lua_callk(L, 1, 0, (lua_KContext)(count + 1), continuation);
    return 1;
}

/* Forgets a key of a table in the private table. */
static void forget(lua_State *L, int table, uint32_t id)
{
    push_private(L, table);
    lua_pushnil(L);
    lua_rawseti(L, -2, id);
    lua_pop(L, 1);
}

int ws_deliver_server_record(
    lua_State *L, module_state *module, ws_event *event, lua_Integer count, lua_KFunction continuation)
{
    uint32_t id = event->socket;
    switch (event->type) {
    case WS_EVENT_OPEN:
        if (event->flags & WS_EVENT_ACCEPTED) {
            adopt(L, module, event);
            return 0;
        }
        break;
    case WS_EVENT_REQUEST:
        if (find_server(L, ws_state_requested_of(module->state, id)))
            return ws_ask_request(L, module, event, count, continuation);
        break;
    case WS_EVENT_DEBUG: return debug_line(L, module, event, count, continuation);
    case WS_EVENT_SERVER_ENDED: {
        lua_server *server = find_server(L, id);
        if (server) end_live(L, server);
        if (event->flags & WS_EVENT_FINAL) forget(L, WS_PRIVATE_SERVERS, id);
        break;
    }
    case WS_EVENT_ENDED: forget(L, WS_PRIVATE_REQUESTS, id); break;
    default: break;
    }
    ws_skip_record(L, module, event);
    return 0;
}

void ws_complete_open(lua_State *L, const lua_websocket *ws)
{
    if (lua_getfield(L, -1, "request") == LUA_TNIL) {
        lua_pop(L, 1);
        push_private(L, WS_PRIVATE_REQUESTS);
        lua_rawgeti(L, -1, ws->id);
        lua_remove(L, -2);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "request");
    }
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "headers");
        lua_setfield(L, -3, "headers");
    }
    lua_pop(L, 1);
    forget(L, WS_PRIVATE_REQUESTS, ws->id);
}
