/* The limit set by Lua: a loop that passes messages, all different, to a Lua callback, each in its own protected
 * call with the module's arguments. Nothing is received.
 *
 *   require "lua_limit"(job, callback, begin) */
#include "payloads.h"
#include <string.h>
#if __has_include(<lua5.4/lua.h>)
#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#else
#include <lauxlib.h>
#include <lua.h>
#endif

static void hand(lua_State *L, const char *data, size_t size)
{
    lua_pushvalue(L, 2);
    lua_pushinteger(L, 0);
    lua_pushlstring(L, data, size);
    lua_pushvalue(L, 4);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) lua_error(L);
}

static int limit(lua_State *L)
{
    char message[4 + 1024] = "done";
    lua_settop(L, 3);
    lua_pushliteral(L, "");
    lua_getfield(L, 1, "count");
    lua_Integer count = luaL_checkinteger(L, -1);
    lua_getfield(L, 1, "size");
    size_t size = (size_t)luaL_checkinteger(L, -1);
    lua_getfield(L, 1, "kind");
    const payloads *set = payloads_of(luaL_checkstring(L, -1), size);
    luaL_argcheck(L, set && size <= 1024, 1, "no such messages");
    lua_pushvalue(L, 3);
    lua_call(L, 0, 0);
    for (lua_Integer i = 0; i < count; i++) {
        memcpy(message + 4, payload(set, (uint64_t)i), size);
        put_number(message + 4 + set->number_at, (uint64_t)i);
        hand(L, message + 4, size);
    }
    hand(L, message, 4 + size);
    return 0;
}

int luaopen_lua_limit(lua_State *L);
int luaopen_lua_limit(lua_State *L)
{
    lua_pushcfunction(L, limit);
    return 1;
}
