/* Measurements that stock Lua lacks: a fine clock, processor time, resident memory. */
#include "client.h"
#if __has_include(<lua5.4/lua.h>)
#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#else
#include <lauxlib.h>
#include <lua.h>
#endif

static int push_now(lua_State *L)
{
    lua_pushnumber(L, now());
    return 1;
}

static int push_cpu(lua_State *L)
{
    lua_pushnumber(L, processor_time());
    return 1;
}

static int push_rss(lua_State *L)
{
    lua_pushinteger(L, resident_bytes());
    return 1;
}

int luaopen_meter(lua_State *L);
int luaopen_meter(lua_State *L)
{
    const luaL_Reg functions[] = {{"now", push_now}, {"cpu", push_cpu}, {"rss", push_rss}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
