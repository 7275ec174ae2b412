/* A host in which Lua's allocator refuses blocks larger than a limit: poor SCRIPT URL. The script gets the globals
 * `url` and allow(bytes), which sets the limit. There is no limit at first. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static size_t limit = (size_t)-1;

static void *allocate(void *context, void *old, size_t old_size, size_t size)
{
    (void)context;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return size > limit && (!old || size > old_size) ? NULL : realloc(old, size);
}

static int allow(lua_State *L)
{
    limit = (size_t)luaL_checkinteger(L, 1);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
#if LUA_VERSION_NUM >= 505
    lua_State *L = lua_newstate(allocate, NULL, 0); /* 0: the seed of its hashes */
#else
    lua_State *L = lua_newstate(allocate, NULL);
#endif
    luaL_openlibs(L);
    lua_register(L, "allow", allow);
    lua_pushstring(L, argv[2]);
    lua_setglobal(L, "url");
    if (luaL_dofile(L, argv[1])) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        return 1;
    }
    lua_close(L);
    return 0;
}
