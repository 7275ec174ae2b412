/* websocket.fd and websocket.loop: how a foreign event loop waits for the module; and the wait for a descriptor of the
 * script's own. All of it runs on the thread that runs the Lua state. */
#define _GNU_SOURCE /* ppoll */
#include "deliver.h"
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <string.h>

/* Whether fetched records wait for a delivery, delivered events for the coroutine that they are for, or a run for its end. */
static bool remains(const module_state *module)
{
    bool is_awaited = module->unclaimed || module->has_run_to_wake;
    return module->cursor != module->end || (is_awaited && module->polls < module->unclaimed_until);
}

void ws_show_remaining(module_state *module)
{
    if (module->state) ws_state_show(module->state, remains(module));
}

/* The engine looks whether the host has closed the descriptor, which costs a system call. */
static int checked_descriptor(lua_State *L, module_state *module)
{
    if (!module->state) luaL_error(L, "websocket has no descriptor: the Lua state closes");
    ws_failure failure;
    int number = ws_state_descriptor(module->state, &failure);
    if (number < 0) luaL_error(L, "websocket has no descriptor: %s", failure.text);
    if (!module->is_watched) {
        module->is_watched = true;
        ws_state_set_timer(module->state, module->next_timer);
    }
    /* The engine has made it unreadable unless records are queued. */
    ws_show(module);
    module->descriptor = number;
    return number;
}

/* A loop asks for each event. */
static int descriptor(lua_State *L, module_state *module)
{
    return module->descriptor >= 0 ? module->descriptor : checked_descriptor(L, module);
}

int ws_fd(lua_State *L)
{
    lua_pushinteger(L, checked_descriptor(L, ws_module(L)));
    return 1;
}

int ws_loop_fd(lua_State *L)
{
    lua_pushinteger(L, descriptor(L, ws_module(L)));
    return 1;
}

static int events(lua_State *L)
{
    lua_pushliteral(L, "r");
    return 1;
}

/* Seconds until the next timer; nil: none is set. The descriptor is readable then, too. */
static int timeout(lua_State *L)
{
    double next = ws_module(L)->next_timer;
    if (next == HUGE_VAL)
        lua_pushnil(L);
    else
        lua_pushnumber(L, fmax(next - ws_monotonic(), 0));
    return 1;
}

/* Whether `poll`, or a coroutine that waits, has something to do: a select that asks this need not wait. LuaSocket's select
 * returns one object for a descriptor, but all that are dirty: with an object for each coroutine, this wakes them all. */
static int dirty(lua_State *L)
{
    module_state *module = ws_module(L);
    lua_pushboolean(L, module->state && (remains(module) || ws_state_queued(module->state) ||
                                         module->next_timer <= ws_monotonic()));
    return 1;
}

const luaL_Reg ws_loop_methods[] = {
    {"pollfd", ws_loop_fd}, {"getfd", ws_loop_fd}, {"events", events},
    {"timeout", timeout},   {"dirty", dirty},      {NULL, NULL},
};

/* Signals are blocked from the last look at the hook to the wait itself: see wait_for_records. */
int ws_wait_for_descriptor(lua_State *L)
{
    module_state *module = ws_module(L);
    struct pollfd descriptors[] = {
        {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN}, {.fd = descriptor(L, module), .events = POLLIN}};
    const double longest = 1e6; /* seconds; the caller waits again */
    double seconds = fmin(fmax(lua_tonumber(L, 2) - ws_monotonic(), 0), longest);
    struct timespec time = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    sigset_t all, before;
    sigfillset(&all);
    lua_Hook hook = lua_gethook(L);
    if (hook) ws_call_empty_function(L);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_quiet = lua_gethook(L) == hook;
    int count = is_quiet ? ppoll(descriptors, 2, &time, &before) : -1;
    int error = is_quiet ? errno : EINTR;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (lua_gethook(L)) ws_call_empty_function(L);
    bool is_open = !(count > 0 && descriptors[0].revents & POLLNVAL);
    if (!is_open || (count < 0 && error != EINTR)) {
        lua_pushnil(L);
        lua_pushfstring(L, "websocket.poll can't wait for the descriptor %d: %s", descriptors[0].fd,
                        is_open ? strerror(error) : "it is not open");
        return 2;
    }
    if (count > 0 && descriptors[1].revents & POLLNVAL) module->descriptor = -1;
    lua_pushboolean(L, count > 0 && descriptors[0].revents);
    lua_pushboolean(L, count < 0);
    return 2;
}
