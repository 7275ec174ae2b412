/* websocket.after: the script's timers, in a heap ordered by time, then by age. They run on the thread that runs the Lua
 * state, in every delivery of events (deliver.c). A timer that is set is kept alive by the private table. */
#include "deliver.h"
#include <math.h>
#include <string.h>

struct ws_timer {
    module_state *module;
    double time;      /* when to run, by the monotonic clock */
    uint64_t number;  /* timers with the same time run in the order of their numbers */
    size_t position;  /* in the heap, from 1; 0 when it is not set */
};

enum { VALUE_FUNCTION = 1 };

static bool is_earlier(const ws_timer *a, const ws_timer *b)
{
    return a->time < b->time || (a->time == b->time && a->number < b->number);
}

static void put(module_state *module, ws_timer *timer, size_t position)
{
    module->timers[position - 1] = timer;
    timer->position = position;
}

/* Moves the timer from `position` to where it belongs, towards the root or away from it. */
static void sift(module_state *module, ws_timer *timer, size_t position)
{
    for (; position > 1 && is_earlier(timer, module->timers[position / 2 - 1]); position /= 2)
        put(module, module->timers[position / 2 - 1], position);
    for (size_t child; (child = 2 * position) <= module->timer_count; position = child) {
        if (child < module->timer_count && is_earlier(module->timers[child], module->timers[child - 1])) child++;
        if (!is_earlier(module->timers[child - 1], timer)) break;
        put(module, module->timers[child - 1], position);
    }
    put(module, timer, position);
}

static void update_next(module_state *module)
{
    double next = module->timer_count ? module->timers[0]->time : HUGE_VAL;
    if (next == module->next_timer) return;
    module->next_timer = next;
    if (module->state) ws_state_set_timer(module->state, next);
}

/* Takes the timer out of the heap and of the private table. The table already has the key: nothing is allocated. */
static void unset(lua_State *L, ws_timer *timer)
{
    module_state *module = timer->module;
    size_t position = timer->position;
    ws_timer *last = module->timers[--module->timer_count];
    timer->position = 0;
    if (last != timer) sift(module, last, position);
    lua_pushlightuserdata(L, timer);
    lua_pushnil(L);
    lua_rawset(L, WS_UP_PRIVATE);
    update_next(module);
    ws_wake_runs_if_idle(L, module);
}

/* Makes room for one more timer. The heap's memory is a userdata of the private table. Making it may run a finalizer that
 * sets timers and makes the heap larger than this. */
static void reserve(lua_State *L, module_state *module)
{
    while (module->timer_count == module->timer_capacity) {
        size_t capacity = module->timer_capacity ? 2 * module->timer_capacity : 8;
        ws_timer **heap = lua_newuserdatauv(L, capacity * sizeof *heap, 0);
        if (capacity <= module->timer_capacity) {
            lua_pop(L, 1);
            continue;
        }
        if (module->timer_count) memcpy(heap, module->timers, module->timer_count * sizeof *heap);
        lua_rawseti(L, WS_UP_PRIVATE, WS_PRIVATE_TIMERS);
        module->timers = heap;
        module->timer_capacity = capacity;
    }
}

int ws_after(lua_State *L)
{
    module_state *module = ws_module(L);
    lua_Number seconds = luaL_checknumber(L, 1);
    if (!module->state) return luaL_error(L, "websocket can't set a timer: the Lua state closes");
    luaL_argcheck(L, !isnan(seconds), 1, "a time in seconds expected, got NaN");
    luaL_argcheck(L, ws_is_callable(L, 2), 2, "a function expected, or an object that can be called");
    lua_settop(L, 2);
    ws_timer *timer = lua_newuserdatauv(L, sizeof *timer, VALUE_FUNCTION);
    *timer = (ws_timer){.module = module, .number = ++module->timers_made};
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_TIMER_METATABLE);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 3, VALUE_FUNCTION);
    reserve(L, module);
    lua_pushlightuserdata(L, timer);
    lua_pushvalue(L, -2);
    lua_rawset(L, WS_UP_PRIVATE);
    timer->time = ws_monotonic() + fmax(seconds, 0);
    sift(module, timer, ++module->timer_count);
    update_next(module);
    return 1;
}

static int cancel(lua_State *L)
{
    ws_timer *timer = lua_touserdata(L, 1);
    if (!timer || lua_rawlen(L, 1) != sizeof *timer || timer->module != ws_module(L))
        return luaL_typeerror(L, 1, "WebSocketTimer");
    /* Once the state closes, the heap is empty and a finalizer of the script may still have a timer. */
    if (timer->position && timer->module->state) unset(L, timer);
    return 0;
}

static int timer_to_string(lua_State *L)
{
    lua_pushfstring(L, "WebSocketTimer: %p", lua_topointer(L, 1));
    return 1;
}

const luaL_Reg ws_timer_methods[] = {{"cancel", cancel}, {NULL, NULL}};
const luaL_Reg ws_timer_metamethods[] = {{"__tostring", timer_to_string}, {NULL, NULL}};

void ws_run_timers(lua_State *L, module_state *module, double now, lua_KContext count, lua_KFunction continuation)
{
    /* A timer that such a function sets is due later than `now`: this loop ends. */
    while (module->timer_count && module->timers[0]->time <= now) {
        ws_timer *timer = module->timers[0];
        lua_pushlightuserdata(L, timer);
        lua_rawget(L, WS_UP_PRIVATE);
        lua_getiuservalue(L, -1, VALUE_FUNCTION);
        ws_keep_call_reserved(L, module);
        /* A finalizer has polled, and that poll has run it. */
        if (!timer->position) {
            lua_pop(L, 2);
            continue;
        }
        unset(L, timer);
        lua_remove(L, -2);
        module->timers_run++;
        ws_show(module);
        lua_callk(L, 0, 0, count, continuation);
    }
}
