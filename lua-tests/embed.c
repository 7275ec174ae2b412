/* A small host: embed SCRIPT. hosts_spec.lua links it with different libraries of Lua.
 *   -DPLUGIN     a shared library, whose run_script does the same; plugin_host.c loads it
 *   -DPRETENDED  Lua says that its version is this number (from 504 on), once its own libraries are open */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

#ifdef PRETENDED
static int is_pretending;

lua_Number lua_version(lua_State *L)
{
    (void)L;
    return is_pretending ? PRETENDED : LUA_VERSION_NUM;
}
#endif

#ifdef PLUGIN
#define main run_script
#endif

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
#ifdef PRETENDED
    is_pretending = 1;
#endif
    int failed = luaL_dofile(L, argv[1]);
    if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_close(L);
    return failed;
}
