/* luaopen_websocket: makes the module's table and its userdata, module_state, one for each Lua state. Its functions run
 * on the thread that runs the Lua state, but for at_exit, which runs on the thread that calls exit. */
#include "bridge.h"
#include <pthread.h>
#include <stdlib.h>

static const struct {
    const char *name;
    int value;
} message_types[] = {
    {"TEXT", WS_EVENT_TEXT}, {"OPEN", WS_EVENT_OPEN}, {"CLOSE", WS_EVENT_CLOSE},       {"ERROR", WS_EVENT_ERROR},
    {"PING", WS_EVENT_PING}, {"PONG", WS_EVENT_PONG}, {"FRAGMENT", WS_EVENT_FRAGMENT}, {"BINARY", WS_EVENT_BINARY},
};

void ws_reset_after_fork(lua_State *L, module_state *module)
{
    module->forks_seen = ws_forks;
    module->cursor = module->end;
    module->delivered = module->fetched;
    module->attempted = 0;
    module->live = 0;
    module->unreported_owner = NULL;
    module->unreported_bytes = 0;
    if (module->state) ws_state_reset(module->state);
    for (lua_websocket *ws = module->websockets; ws; ws = ws->next) {
        ws->started = false;
        ws->starts = 0;
        ws->opens_delivered = 0;
        if (ws->engine_side) ws_websocket_reset(ws->engine_side);
    }
    if (!L) return;
    lua_pushnil(L);
    while (lua_next(L, WS_UP_LIVE)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, WS_UP_LIVE);
    }
}

static int state_gc(lua_State *L)
{
    module_state *module = lua_touserdata(L, 1);
    ws_check_fork(NULL, module);
    ws_state *state = module->state;
    /* A finalizer of the script may still call the module after this: it finds no state and no records. */
    module->state = NULL;
    module->cursor = module->end = NULL;
    module->live = 0;
    module->unreported_owner = NULL;
    /* Websockets that a finalizer made while the state closes: Lua does not call their __gc any more. */
    while (module->websockets) ws_release(module->websockets);
    if (state) ws_state_free(state);
    return 0;
}

/* os.exit() does not close the Lua state unless it is told to. */
static void at_exit(void) { ws_shut_down(); }
static void register_exit(void) { atexit(at_exit); }

/* Pushes the three upvalues: module_state, the table of live websockets, their metatable. */
static void push_upvalues(lua_State *L)
{
    module_state *module = lua_newuserdatauv(L, sizeof *module, 0);
    ws_start_counting_forks();
    *module = (module_state){.forks_seen = ws_forks};
    /* Lua finalises in the opposite order: module_state gets its __gc before any websocket, so it is finalised last. */
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, state_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    module->state = ws_state_new();
    lua_newtable(L);
    lua_newtable(L);
}

static void push_copies(lua_State *L, int first)
{
    for (int i = 0; i < 3; i++) lua_pushvalue(L, first + i);
}

/* Fills the metatable of websockets, the third of the upvalues; its functions have it as an upvalue. */
static void fill_metatable(lua_State *L, int upvalues)
{
    lua_pushvalue(L, upvalues + 2);
    push_copies(L, upvalues);
    luaL_setfuncs(L, ws_metamethods, 3);
    lua_newtable(L);
    push_copies(L, upvalues);
    luaL_setfuncs(L, ws_methods, 3);
    push_copies(L, upvalues);
    lua_pushvalue(L, -4);
    lua_pushcclosure(L, ws_get_field, 4);
    lua_setfield(L, -3, "__index");
    lua_pop(L, 1);
    lua_pushliteral(L, "WebSocket");
    lua_setfield(L, -2, "__name");
    lua_pop(L, 1);
}

int ws_open(lua_State *L)
{
    ws_check_version(L);
    static const luaL_Reg functions[] = {
        {"WebSocket", ws_constructor}, {"poll", ws_poll}, {"run", ws_run}, {NULL, NULL}};
    static pthread_once_t registered = PTHREAD_ONCE_INIT;
    pthread_once(&registered, register_exit);
    push_upvalues(L);
    int upvalues = lua_gettop(L) - 2;
    fill_metatable(L, upvalues);
    luaL_newlibtable(L, functions);
    push_copies(L, upvalues);
    luaL_setfuncs(L, functions, 3);
    lua_createtable(L, 0, sizeof message_types / sizeof *message_types);
    for (size_t i = 0; i < sizeof message_types / sizeof *message_types; i++) {
        lua_pushinteger(L, message_types[i].value);
        lua_setfield(L, -2, message_types[i].name);
    }
    lua_setfield(L, -2, "WebSocketMessageType");
    lua_pushliteral(L, "websocket");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "websocket 0.1");
    lua_setfield(L, -2, "_VERSION");
    return 1;
}

/* The same module; also sets the globals that scripts written for Aseprite expect. */
int ws_open_global(lua_State *L)
{
    ws_check_version(L);
    luaL_requiref(L, "websocket", ws_open, 0);
    lua_getfield(L, -1, "WebSocket");
    lua_setglobal(L, "WebSocket");
    lua_getfield(L, -1, "WebSocketMessageType");
    lua_setglobal(L, "WebSocketMessageType");
    return 1;
}
