/* websocket.broadcastText and broadcastBinary: one message to each websocket of a list, which the engine frames once. They run on
 * the script's thread. */
#include "bridge.h"
#include <limits.h>

/* The list is at index 1, the parts of the message follow. */
static int broadcast(lua_State *L, uint8_t opcode, const char *what)
{
    module_state *module = ws_module(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    int last = lua_gettop(L);
    for (int i = 2; i <= last; i++) luaL_checkstring(L, i);
    if (last > 2) lua_concat(L, last - 1);
    if (last < 2) lua_pushliteral(L, "");
    size_t count = lua_rawlen(L, 1);
    luaL_argcheck(L, count <= INT_MAX, 1, "too long a list");
    /* The message is at index 2. The arrays are userdata, since the next calls may raise. */
    ws_websocket **websockets = lua_newuserdatauv(L, (count + 1) * sizeof *websockets, 0);
    bool *results = lua_newuserdatauv(L, count + 1, 0);
    /* For those that are left out, with room for all: from here on no finalizer runs, and nothing raises once the message is
     * sent. */
    lua_createtable(L, (int)count, 0);
    size_t sent = 0;
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        lua_websocket *ws = ws_at(L, -1);
        if (!ws)
            return luaL_error(L, "bad argument #1 (WebSocket expected at index %d of the list, got %s)", (int)i + 1,
                              luaL_typename(L, -1));
        websockets[i] = ws->started ? ws->engine_side : NULL;
        results[i] = ws->last_send_poll != module->polls;
        ws->last_send_poll = module->polls;
        lua_pop(L, 1);
    }
    ws_slice message = ws_slice_at(L, 2);
    ws_failure failure;
    if (module->state &&
        !ws_broadcast(module->state, opcode, message, websockets, results, count, &failure))
        return luaL_error(L, "WebSocket failed to send %s: %s", what, failure.text);
    lua_Integer left_out = 0;
    for (size_t i = 0; i < count; i++) {
        if (results[i] && module->state) {
            sent++;
        } else {
            lua_rawgeti(L, 1, (lua_Integer)i + 1);
            lua_rawseti(L, -2, ++left_out);
        }
    }
    if (!left_out) lua_pushnil(L);
    lua_pushinteger(L, (lua_Integer)sent);
    lua_insert(L, -2);
    return 2;
}

int ws_broadcast_text(lua_State *L) { return broadcast(L, 0x1, "text"); }
int ws_broadcast_binary(lua_State *L) { return broadcast(L, 0x2, "data"); }
