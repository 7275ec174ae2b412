/* luaopen_websocket: makes the module's table and its userdata, module_state, one for each Lua state. Its functions run
 * on the thread that runs the Lua state, but for at_exit, which runs on the thread that calls exit. */
#include "bridge.h"
#include "version.h"
#include <math.h>
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
    module->is_watched = false;
    module->descriptor = -1;
    if (module->state) ws_state_reset(module->state);
    ws_reset_servers(L, module);
    for (lua_websocket *ws = module->websockets; ws; ws = ws->next) {
        ws->started = false;
        ws->starts = 0;
        ws->opens_delivered = 0;
        ws->is_open = false;
        ws->inbox_first = 0;
        ws->inbox_count = ws->inbox_reported = 0;
        ws->inbox_bytes = ws->inbox_unreported = 0;
        ws_set_unclaimed(ws, 0);
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
    module->timer_count = 0;
    module->next_timer = HUGE_VAL;
    module->cursor = module->end = NULL;
    module->live = 0;
    module->unreported_owner = NULL;
    while (module->servers) ws_release_server(module->servers);
    /* Websockets that a finalizer made while the state closes: Lua does not call their __gc any more. */
    while (module->websockets) ws_release(module->websockets);
    if (state) ws_state_free(state);
    return 0;
}

/* os.exit() does not close the Lua state unless it is told to. */
static void at_exit(void) { ws_shut_down(); }
static void register_exit(void) { atexit(at_exit); }

/* Pushes the upvalues: module_state, the table of live websockets, their metatable, the private table. */
static void push_upvalues(lua_State *L)
{
    module_state *module = lua_newuserdatauv(L, sizeof *module, 0);
    ws_start_counting_forks();
    *module = (module_state){.forks_seen = ws_forks, .next_timer = HUGE_VAL, .descriptor = -1};
    /* Lua finalises in the opposite order: module_state gets its __gc before any websocket, so it is finalised last. */
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, state_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    module->state = ws_state_new();
    lua_newtable(L);
    lua_newtable(L);
    lua_newtable(L);
}

static void push_copies(lua_State *L, int first)
{
    for (int i = 0; i < WS_UPVALUES; i++) lua_pushvalue(L, first + i);
}

/* Pushes a table of the functions, which have the upvalues. */
static void push_functions(lua_State *L, int upvalues, const luaL_Reg *functions)
{
    lua_newtable(L);
    push_copies(L, upvalues);
    luaL_setfuncs(L, functions, WS_UPVALUES);
}

/* getmetatable returns this text instead of the metatable on top of the stack: scripts get at no metamethod. */
static void hide_metatable(lua_State *L, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, "__metatable");
}

/* Fills the metatable of websockets, the third of the upvalues. Pushes the table of methods. */
static void fill_metatable(lua_State *L, int upvalues)
{
    push_functions(L, upvalues, ws_methods);
    lua_pushvalue(L, upvalues + 2);
    push_copies(L, upvalues);
    luaL_setfuncs(L, ws_metamethods, WS_UPVALUES);
    push_copies(L, upvalues);
    lua_pushvalue(L, -2 - WS_UPVALUES);
    lua_pushcclosure(L, ws_get_field, WS_UPVALUES + 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "WebSocket");
    lua_setfield(L, -2, "__name");
    hide_metatable(L, "WebSocket");
    lua_pop(L, 1);
}

/* Makes the metatables and the tables of servers and requests in the private table. */
static void fill_server_tables(lua_State *L, int upvalues, int private)
{
    push_functions(L, upvalues, ws_server_metamethods);
    push_copies(L, upvalues);
    push_functions(L, upvalues, ws_server_methods);
    lua_pushcclosure(L, ws_get_server_field, WS_UPVALUES + 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "WebSocketServer");
    lua_setfield(L, -2, "__name");
    hide_metatable(L, "WebSocketServer");
    lua_rawseti(L, private, WS_PRIVATE_SERVER_METATABLE);
    lua_newtable(L);
    push_functions(L, upvalues, ws_request_methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "WebSocketRequest");
    lua_setfield(L, -2, "__name");
    lua_rawseti(L, private, WS_PRIVATE_REQUEST_METATABLE);
    lua_newtable(L);
    luaL_setfuncs(L, ws_request_owner_metamethods, 0);
    lua_rawseti(L, private, WS_PRIVATE_REQUEST_OWNER_METATABLE);
    lua_newtable(L);
    lua_rawseti(L, private, WS_PRIVATE_SERVERS);
    lua_newtable(L);
    lua_rawseti(L, private, WS_PRIVATE_REQUESTS);
    lua_newtable(L);
    lua_rawgeti(L, private, WS_PRIVATE_WEAK_METATABLE);
    lua_setmetatable(L, -2);
    lua_rawseti(L, private, WS_PRIVATE_WAITING_REQUESTS);
}

/* Runs the chunk of waits.lua, and puts what it returns into the private table. The module's table and that of the
 * websockets' methods are at the given positions. */
static void run_waits(lua_State *L, int upvalues, int module, int methods)
{
    int private = upvalues + 3;
    ws_push_waits(L);
    lua_pushvalue(L, module);
    lua_pushvalue(L, methods);
    push_functions(L, upvalues, ws_wait_functions);
    lua_pushboolean(L, WS_CALLS_YIELD);
    lua_setfield(L, -2, "calls_yield");
    lua_call(L, 3, 4);
    for (int key = WS_PRIVATE_YIELD; key >= WS_PRIVATE_POLL; key--) lua_rawseti(L, private, key);
    lua_pushvalue(L, module);
    lua_rawseti(L, private, WS_PRIVATE_MODULE);
    lua_newtable(L);
    luaL_setfuncs(L, ws_timer_metamethods, 0);
    push_functions(L, upvalues, ws_timer_methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "WebSocketTimer");
    lua_setfield(L, -2, "__name");
    hide_metatable(L, "WebSocketTimer");
    lua_rawseti(L, private, WS_PRIVATE_TIMER_METATABLE);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_newtable(L);
    lua_pushvalue(L, -2);
    lua_setmetatable(L, -2);
    lua_rawseti(L, private, WS_PRIVATE_RUNNING);
    lua_rawseti(L, private, WS_PRIVATE_WEAK_METATABLE);
    fill_server_tables(L, upvalues, private);
    lua_newtable(L);
    luaL_setfuncs(L, ws_question_metamethods, 0);
    lua_rawseti(L, private, WS_PRIVATE_QUESTION_METATABLE);
    lua_pushcfunction(L, ws_push_values_function);
    lua_rawseti(L, private, WS_PRIVATE_PUSH_VALUES);
    lua_pushcfunction(L, ws_reserve_slots_function);
    lua_rawseti(L, private, WS_PRIVATE_RESERVE_SLOTS);
    lua_pushcfunction(L, ws_make_room_function);
    lua_rawseti(L, private, WS_PRIVATE_MAKE_ROOM);
    lua_pushcfunction(L, ws_read_answer_function);
    lua_rawseti(L, private, WS_PRIVATE_READ_ANSWER);
    push_copies(L, upvalues);
    lua_pushcclosure(L, ws_answer_request_function, WS_UPVALUES);
    lua_rawseti(L, private, WS_PRIVATE_ANSWER_REQUEST);
}

int ws_open(lua_State *L)
{
    ws_check_version(L);
    static const luaL_Reg functions[] = {
        {"WebSocket", ws_constructor}, {"poll", ws_poll}, {"run", ws_run}, {"stop", ws_stop},
        {"listen", ws_listen}, {"broadcastText", ws_broadcast_text}, {"broadcastBinary", ws_broadcast_binary},
        {"after", ws_after}, {"time", ws_time}, {"fd", ws_fd}, {NULL, NULL}};
    static pthread_once_t registered = PTHREAD_ONCE_INIT;
    pthread_once(&registered, register_exit);
    push_upvalues(L);
    int upvalues = lua_gettop(L) - WS_UPVALUES + 1;
    fill_metatable(L, upvalues);
    int methods = lua_gettop(L);
    push_functions(L, upvalues, functions);
    run_waits(L, upvalues, methods + 1, methods);
    push_functions(L, upvalues, ws_loop_methods);
    lua_setfield(L, -2, "loop");
    lua_createtable(L, 0, sizeof message_types / sizeof *message_types);
    for (size_t i = 0; i < sizeof message_types / sizeof *message_types; i++) {
        lua_pushinteger(L, message_types[i].value);
        lua_setfield(L, -2, message_types[i].name);
    }
    lua_setfield(L, -2, "WebSocketMessageType");
    lua_pushliteral(L, "websocket");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "websocket " WS_VERSION);
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
