/* luaopen_websocket: the module's table, and the one userdata that each Lua state has of it. */
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

/* At the end of the state, what was sent gets so long to leave. */
static const double farewell = 1.0;

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
    /* Finalizers of the script may still call the module after this: there is nothing to deliver. */
    module->state = NULL;
    module->cursor = module->end = NULL;
    module->live = 0;
    module->unreported_owner = NULL;
    /* Those that a finalizer made while the state closes: Lua finalises nothing that is new then. */
    while (module->websockets) ws_release(module->websockets);
    if (state) ws_state_free(state, farewell);
    return 0;
}

/* os.exit() leaves without closing the state. */
static void at_exit(void) { ws_shut_down(farewell); }
static void register_exit(void) { atexit(at_exit); }

/* Pushes the three upvalues: the state's userdata, the table of live websockets, their metatable. */
static void push_upvalues(lua_State *L)
{
    module_state *module = lua_newuserdatauv(L, sizeof *module, 0);
    ws_start_counting_forks();
    *module = (module_state){.forks_seen = ws_forks};
    /* Marked for collection before any websocket: finalised after all of them. */
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

int ws_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"WebSocket", ws_constructor}, {"poll", ws_poll}, {"run", ws_run}, {NULL, NULL}};
    static pthread_once_t registered = PTHREAD_ONCE_INIT;
    pthread_once(&registered, register_exit);
    push_upvalues(L);
    int upvalues = lua_gettop(L) - 2;

    /* The metatable of websockets: its functions need the upvalues, and it is one of them. */
    lua_pushvalue(L, upvalues + 2);
    push_copies(L, upvalues);
    luaL_setfuncs(L, ws_metamethods, 3);
    lua_newtable(L);
    push_copies(L, upvalues);
    luaL_setfuncs(L, ws_methods, 3);
    push_copies(L, upvalues);
    lua_pushvalue(L, -4);
    lua_pushcclosure(L, ws_metamethods[0].func, 4); /* __index finds the methods in its fourth upvalue */
    lua_setfield(L, -3, "__index");
    lua_pop(L, 1);
    lua_pushliteral(L, "WebSocket");
    lua_setfield(L, -2, "__name");
    lua_pop(L, 1);

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

static int open_plain(lua_State *L) { return ws_open(L); }

/* The same module; also sets the globals that scripts written for Aseprite expect. */
int ws_open_global(lua_State *L)
{
    luaL_requiref(L, "websocket", open_plain, 0);
    lua_getfield(L, -1, "WebSocket");
    lua_setglobal(L, "WebSocket");
    lua_getfield(L, -1, "WebSocketMessageType");
    lua_setglobal(L, "WebSocketMessageType");
    return 1;
}
