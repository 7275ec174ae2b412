/* Everything that differs between Lua 5.1, 5.2, 5.3, 5.4, 5.5 and LuaJIT. The other C files are written in Lua 5.4's
 * API; for older versions this header adds the functions that they lack. Included by bridge.h;
 * its functions run on the thread that runs the Lua state. A build for 5.1 uses the API of 5.1 only, not LuaJIT's
 * additions: one such build loads in both. */
#ifndef WS_COMPAT_H
#define WS_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* ---- The version of the running interpreter. luaopen_websocket checks it before any other call: a build for 5.4 also
 * loads in 5.5, where the registry and upvalues have other indices. Builds for 5.1 to 5.3 use functions that no other
 * version has, so the dynamic linker refuses them. */

static inline void ws_check_version(lua_State *L)
{
#if LUA_VERSION_NUM >= 504
    /* 0: the host's numbers are floats, and this read one as a double. luaL_checkversion says so. */
    int version = (int)lua_version(L);
    if (version && version != LUA_VERSION_NUM)
        luaL_error(L, "websocket.so was built for Lua %d.%d, and this is Lua %d.%d: install the build for Lua %d.%d",
                   LUA_VERSION_NUM / 100, LUA_VERSION_NUM % 100, version / 100, version % 100, version / 100,
                   version % 100);
#endif
#if LUA_VERSION_NUM >= 502
    /* Compares the types of numbers; in 5.2 and 5.3 it also notices that the process has two Luas. */
    luaL_checkversion(L);
#endif
    (void)L;
}

/* ---- Continuations. WS_CONTINUATION(name)(lua_State *L, int status, lua_KContext context) { … } defines a static
 * function for lua_callk. In 5.2 the context is an int. In 5.1 and LuaJIT a function that C calls can't yield, and no
 * continuation is called. */

#if LUA_VERSION_NUM == 502
typedef int lua_KContext;
typedef lua_CFunction lua_KFunction;
/* 5.2 calls `name` without status and context; it gets them and passes them on. */
#define WS_CONTINUATION(name)                                                                                          \
    static int name##_in_context(lua_State *L, int status, lua_KContext context);                                     \
    static int name(lua_State *L)                                                                                      \
    {                                                                                                                  \
        lua_KContext context = 0;                                                                                      \
        int status = lua_getctx(L, &context);                                                                          \
        return name##_in_context(L, status, context);                                                                  \
    }                                                                                                                  \
    static int name##_in_context
#else
#define WS_CONTINUATION(name) static int name
#endif

/* Whether a function that C calls may yield. */
enum { WS_CALLS_YIELD = LUA_VERSION_NUM > 501 };

#if LUA_VERSION_NUM == 501
typedef ptrdiff_t lua_KContext;
typedef int (*lua_KFunction)(lua_State *L, int status, lua_KContext context);
#define lua_callk(L, arguments, results, context, continuation)                                                       \
    ((void)(context), (void)(continuation), lua_call(L, arguments, results))
#endif

/* Whether a garbage collection leaves alone what lua_checkstack has reserved (LuaJIT, with the API of 5.1, does not), and
 * the CallInfo of a call that has returned (5.2 does not). */
enum { WS_STACK_STAYS = LUA_VERSION_NUM != 501, WS_CALLINFO_STAYS = LUA_VERSION_NUM != 502 };

/* ---- Before 5.4 a userdata has one user value at most, or an environment: here a table of them, which is made with
 * room for all, so that setting one takes no memory. */

/* Before 5.4 there are no to-be-closed values. */
#if LUA_VERSION_NUM < 504
#define lua_toclose(L, index) ((void)(L), (void)(index))
#endif

#if LUA_VERSION_NUM < 504
#if LUA_VERSION_NUM == 501
#define WS_GET_USER_VALUES lua_getfenv
#define WS_SET_USER_VALUES lua_setfenv
#else
#define WS_GET_USER_VALUES lua_getuservalue
#define WS_SET_USER_VALUES lua_setuservalue
#endif

static inline void *lua_newuserdatauv(lua_State *L, size_t size, int values)
{
    void *memory = lua_newuserdata(L, size);
    if (values) {
        lua_createtable(L, values, 0);
        WS_SET_USER_VALUES(L, -2);
    }
    return memory;
}

static inline int lua_getiuservalue(lua_State *L, int index, int value)
{
    WS_GET_USER_VALUES(L, index);
    lua_rawgeti(L, -1, value);
    lua_remove(L, -2);
    return lua_type(L, -1);
}

/* `index` must not count from the stack's top. */
static inline void lua_setiuservalue(lua_State *L, int index, int value)
{
    WS_GET_USER_VALUES(L, index);
    lua_insert(L, -2);
    lua_rawseti(L, -2, value);
    lua_pop(L, 1);
}

static inline int luaL_typeerror(lua_State *L, int argument, const char *expected)
{
    return luaL_argerror(L, argument, lua_pushfstring(L, "%s expected, got %s", expected, luaL_typename(L, argument)));
}
#endif

/* ---- ws_push_bytes is lua_pushlstring for bytes that a finalizer may free. Before 5.3 a push collects garbage, then
 * copies the bytes. `*delivered` is another number if a finalizer has freed them: then "" is pushed. */

#if LUA_VERSION_NUM < 503
static inline void ws_push_bytes(lua_State *L, const char *bytes, size_t length, const uint64_t *delivered)
{
    enum { most_on_stack = 1024 };
    if (length <= most_on_stack) {
        char copy[most_on_stack];
        memcpy(copy, bytes, length);
        lua_pushlstring(L, copy, length);
        return;
    }
    uint64_t before = *delivered;
    char *copy = lua_newuserdata(L, length);
    if (*delivered == before)
        memcpy(copy, bytes, length);
    else
        length = 0;
    lua_pushlstring(L, copy, length);
    lua_remove(L, -2);
}
#else
#define ws_push_bytes(L, bytes, length, delivered) ((void)(delivered), lua_pushlstring(L, bytes, length))
#endif

/* ---- Before 5.3 the functions that get a value do not return its type, and luaL_optinteger accepts fractions. */

#if LUA_VERSION_NUM < 503
static inline int ws_rawget(lua_State *L, int index)
{
    lua_rawget(L, index);
    return lua_type(L, -1);
}
#define lua_rawget ws_rawget

static inline int ws_rawgeti(lua_State *L, int index, int key)
{
    lua_rawgeti(L, index, key);
    return lua_type(L, -1);
}
#define lua_rawgeti ws_rawgeti

static inline int ws_getfield(lua_State *L, int index, const char *key)
{
    lua_getfield(L, index, key);
    return lua_type(L, -1);
}
#undef lua_getfield
#define lua_getfield ws_getfield

static inline lua_Integer ws_optinteger(lua_State *L, int argument, lua_Integer otherwise)
{
    lua_Integer integer = luaL_optinteger(L, argument, otherwise);
    luaL_argcheck(L, lua_isnoneornil(L, argument) || lua_tonumber(L, argument) == (lua_Number)integer, argument,
                  "number has no integer representation");
    return integer;
}
#undef luaL_optinteger
#define luaL_optinteger ws_optinteger

/* 5.2's calls `open` also if the module is loaded. */
static inline void ws_requiref(lua_State *L, const char *name, lua_CFunction open, int is_global)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, name);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, open);
        lua_pushstring(L, name);
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, name);
    }
    lua_remove(L, -2);
    if (!is_global) return;
    lua_pushvalue(L, -1);
    lua_setglobal(L, name);
}
#undef luaL_requiref
#define luaL_requiref ws_requiref
#endif

/* ---- 5.1 and LuaJIT. LuaJIT declares some of these functions, so they have names of their own. */

#if LUA_VERSION_NUM == 501
#undef LUA_OK
#define LUA_OK 0
#define lua_rawlen lua_objlen

/* Pushes a C function from the registry. A new one at each push would take memory, which poll would have to collect. */
static inline void ws_pushcfunction(lua_State *L, lua_CFunction function)
{
    lua_pushlightuserdata(L, (void *)function);
    if (lua_rawget(L, LUA_REGISTRYINDEX) != LUA_TNIL) return;
    lua_pop(L, 1);
    lua_pushcclosure(L, function, 0);
    lua_pushlightuserdata(L, (void *)function);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}
#undef lua_pushcfunction
#define lua_pushcfunction ws_pushcfunction

/* Without a text, 5.1 would say "(null)". */
static inline void ws_checkstack(lua_State *L, int slots, const char *text)
{
    (void)text;
    if (!lua_checkstack(L, slots)) luaL_error(L, "stack overflow");
}
#define luaL_checkstack ws_checkstack

static inline void ws_setfuncs(lua_State *L, const luaL_Reg *functions, int upvalues)
{
    for (; functions->name; functions++) {
        for (int i = 0; i < upvalues; i++) lua_pushvalue(L, -upvalues);
        lua_pushcclosure(L, functions->func, upvalues);
        lua_setfield(L, -upvalues - 2, functions->name);
    }
    lua_pop(L, upvalues);
}
#undef luaL_setfuncs
#define luaL_setfuncs ws_setfuncs

#undef luaL_newlibtable
#define luaL_newlibtable(L, functions) lua_createtable(L, 0, (int)(sizeof(functions) / sizeof *(functions) - 1))

static inline const char *ws_tolstring(lua_State *L, int index, size_t *length)
{
    if (luaL_callmeta(L, index, "__tostring")) {
        if (!lua_isstring(L, -1)) luaL_error(L, "'__tostring' must return a string");
    } else if (lua_isstring(L, index)) {
        lua_pushvalue(L, index);
    } else if (lua_isboolean(L, index)) {
        lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
    } else if (lua_isnil(L, index)) {
        lua_pushliteral(L, "nil");
    } else {
        lua_pushfstring(L, "%s: %p", luaL_typename(L, index), lua_topointer(L, index));
    }
    return lua_tolstring(L, -1, length);
}
#undef luaL_tolstring
#define luaL_tolstring ws_tolstring
#endif

/* ---- If 5.5 has no memory for a formatted text, lua_pushfstring returns NULL and pushes nothing, and luaL_error raises
 * whatever is on top of the stack. */

#if LUA_VERSION_NUM >= 505
static inline const char *ws_pushfstring(lua_State *L, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    if (text) return text;
    lua_pushliteral(L, "not enough memory"); /* Lua keeps this text: it takes no memory */
    lua_error(L);
    return NULL;
}
#define lua_pushfstring ws_pushfstring

static inline int ws_error(lua_State *L, const char *format, ...)
{
    lua_Debug caller;
    bool is_known = lua_getstack(L, 1, &caller) && lua_getinfo(L, "Sl", &caller) && caller.currentline > 0;
    if (is_known) lua_pushfstring(L, "%s:%d: ", caller.short_src, caller.currentline);
    va_list arguments;
    va_start(arguments, format);
    const char *text = lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    if (!text)
        lua_pushliteral(L, "not enough memory");
    else if (is_known)
        lua_concat(L, 2);
    return lua_error(L);
}
#define luaL_error ws_error
#endif

#endif
