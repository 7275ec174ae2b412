/* The runs that have begun: their states, the function stop, which ends one of them, and what wakes those that are over. All of it runs on the thread that runs
 * the Lua state; run itself is in poll.c, and in waits.lua for a coroutine with websocket.yield. */
#include "deliver.h"

enum { RUN_VARIABLE = 2 }; /* of waits.lua's run */

ws_run_state *ws_run_at(lua_State *L, int index, const module_state *module)
{
    ws_run_state *run = lua_touserdata(L, index);
    return run && lua_rawlen(L, index) == sizeof *run && run->module == module ? run : NULL;
}

int ws_begin_run(lua_State *L)
{
    module_state *module = ws_module(L);
    ws_run_state *run = lua_newuserdatauv(L, sizeof *run, 0);
    *run = (ws_run_state){.module = module, .number = ++module->runs_begun};
    /* ws_stop looks for runs in these coroutines. */
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_RUNNING);
    lua_pushthread(L);
    lua_pushboolean(L, true);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 1;
}

int ws_is_over(lua_State *L)
{
    module_state *module = ws_module(L);
    bool is_over = ws_is_run_over(module, ws_run_at(L, 1, module));
    if (is_over && module->has_run_to_wake) ws_wake_runs(L, module);
    lua_pushboolean(L, is_over);
    return 1;
}

int ws_is_module_idle(lua_State *L)
{
    lua_pushboolean(L, ws_is_idle(ws_module(L)));
    return 1;
}

/* The innermost run whose call is on the stack of this coroutine; NULL: none. The stack shows exactly which runs go on: an
 * error that the script has caught may have ended any of them. */
static ws_run_state *innermost_run(lua_State *L, const module_state *module, lua_State *coroutine)
{
    int status = lua_status(coroutine);
    if (status != LUA_OK && status != LUA_YIELD) return NULL;
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_RUN);
    const void *run_of_waits = lua_topointer(L, -1);
    lua_pop(L, 1);
    lua_Debug call;
    for (int level = 0; lua_getstack(coroutine, level, &call); level++) {
        lua_getinfo(coroutine, "f", &call);
        bool is_native = lua_tocfunction(coroutine, -1) == ws_run;
        bool is_run = is_native || lua_topointer(coroutine, -1) == run_of_waits;
        lua_pop(coroutine, 1);
        if (!is_run || !lua_getlocal(coroutine, &call, is_native ? INDEX_TARGET : RUN_VARIABLE)) continue;
        ws_run_state *run = ws_run_at(coroutine, -1, module);
        lua_pop(coroutine, 1);
        if (run) return run;
    }
    return NULL;
}

/* The same for all other coroutines. A run whose coroutine is at work, because it has resumed the running one (perhaps by way
 * of others), is inside of those that are suspended in websocket.yield; else the latest is the innermost. */
static ws_run_state *innermost_run_elsewhere(lua_State *L, const module_state *module)
{
    ws_run_state *innermost = NULL;
    bool is_innermost_at_work = false;
    lua_settop(L, 0);
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_RUNNING);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        lua_State *coroutine = lua_tothread(L, -2);
        ws_run_state *run = innermost_run(L, module, coroutine);
        bool is_at_work = lua_status(coroutine) == LUA_OK;
        if (!run || (is_innermost_at_work && !is_at_work)) continue;
        if (innermost && is_innermost_at_work == is_at_work && run->number < innermost->number) continue;
        innermost = run;
        is_innermost_at_work = is_at_work;
    }
    return innermost;
}

void ws_wake_runs(lua_State *L, module_state *module)
{
    /* Waiting in websocket.yield takes the descriptor. */
    if (!module->state || !module->is_watched) return;
    module->has_run_to_wake = false;
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_RUNNING);
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        lua_State *coroutine = lua_tothread(L, -2);
        if (lua_status(coroutine) != LUA_YIELD) continue;
        const ws_run_state *run = innermost_run(L, module, coroutine);
        module->has_run_to_wake |= run && ws_is_run_over(module, run);
    }
    lua_settop(L, table - 1);
    if (module->has_run_to_wake) ws_stay_readable(module);
    ws_show_remaining(module);
}

/* websocket.stop(): without a run it does nothing. */
int ws_stop(lua_State *L)
{
    module_state *module = ws_module(L);
    ws_run_state *run = innermost_run(L, module, L);
    if (!run) run = innermost_run_elsewhere(L, module);
    if (!run) return 0;
    run->is_stopped = true;
    ws_wake_runs(L, module);
    return 0;
}
