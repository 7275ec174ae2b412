/* The functions poll and run: fetch the engine's records, wait for the first, deliver them (deliver.c). They run on
 * the script's thread, which runs the engine's loop while it waits. */
#include "deliver.h"
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <time.h>

void ws_fetch_records(module_state *module, double limit, const sigset_t *mask)
{
    if (module->cursor != module->end) return;
    size_t count;
    ws_slice records = ws_state_fetch(module->state, limit, mask, &count);
    module->cursor = (ws_event *)records.bytes;
    module->end = (ws_event *)(records.bytes + records.count);
    module->fetched += count;
}

/* Runs a debug hook, such as the interpreter's own for Ctrl-C, which is run at a call: an endless wait makes none. The
 * hook may raise, so a descriptor of the script must tell what remains. */
static void run_hooks(lua_State *L, module_state *module)
{
    if (!lua_gethook(L)) return;
    ws_show(module);
    ws_call_empty_function(L);
}

double ws_monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int ws_time(lua_State *L)
{
    lua_pushnumber(L, ws_monotonic());
    return 1;
}

/* Waits for the first record, until `deadline` at the latest. A signal whose handler sets a hook, as the interpreter's own
 * for Ctrl-C does, must end the wait. So signals are blocked from the last look at the hook to the wait itself. That costs
 * two system calls, so the first `brief` seconds of a wait do without. */
static void wait_for_records(lua_State *L, module_state *module, double now, double deadline)
{
    const double brief = 0.1;
    double brief_deadline = now + brief < deadline ? now + brief : deadline;
    ws_fetch_records(module, brief_deadline, NULL);
    /* Seconds by which a wait may end early because its limit is rounded; if it ends earlier, a signal has ended it. */
    const double rounding = 1e-6;
    if (module->cursor != module->end || deadline <= brief_deadline) return;
    if (ws_monotonic() < brief_deadline - rounding) return;
    sigset_t all, before;
    sigfillset(&all);
    for (;;) {
        lua_Hook hook = lua_gethook(L);
        run_hooks(L, module);
        ws_check_fork(L, module);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        bool is_quiet = lua_gethook(L) == hook;
        if (is_quiet) ws_fetch_records(module, deadline, &before);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (is_quiet) return;
    }
}

/* Fetches the queued records, or waits for the first until the deadline, and prepares the stack for the delivery of
 * these and no later ones: returns the number of the last. */
static uint64_t prepare_delivery(lua_State *L, module_state *module, double now, double deadline)
{
    /* The last callback may have forked. */
    ws_check_fork(L, module);
    module->polls++;
    ws_report_delivered(module);
    /* What may raise comes before the fetch. */
    ws_reserve_call(L);
    lua_settop(L, INDEX_DEADLINE);
    lua_pushliteral(L, "");
    /* Fetched records remain if a callback raised, or if this poll is called by one: those queued behind them count. */
    size_t more = module->cursor == module->end ? 0 : ws_state_queued(module->state);
    /* A timer that is due ends the wait. */
    if (deadline > now)
        wait_for_records(L, module, now, deadline < module->next_timer ? deadline : module->next_timer);
    else
        ws_fetch_records(module, 0, NULL);
    uint64_t last = module->fetched + more;
    lua_pushinteger(L, (lua_Integer)last);
    run_hooks(L, module);
    return last;
}

/* The seconds at index 1. */
static double check_timeout(lua_State *L, double default_seconds)
{
    lua_Number seconds = luaL_optnumber(L, 1, default_seconds);
    luaL_argcheck(L, !isnan(seconds), 1, "a time in seconds expected, got NaN");
    return seconds;
}

/* Puts the arguments of a delivery in the place of the function's. */
static void set_deadline(lua_State *L, double deadline)
{
    lua_settop(L, 0);
    lua_pushnil(L);
    lua_pushnumber(L, deadline);
}

static int fail_nested(lua_State *L)
{
    return luaL_error(L, "websocket can't wait: %d callbacks that wait are nested", WS_MAX_NESTED);
}

WS_CONTINUATION(finish_call)(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return lua_gettop(L);
}

/* Whether this runs in a coroutine, and the script has set websocket.yield: then waits.lua waits. Leaves values behind. */
static bool waits_in_coroutine(lua_State *L)
{
    if (lua_pushthread(L)) return false;
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_MODULE);
    lua_getfield(L, -1, "yield");
    return !lua_isnil(L, -1);
}

/* Calls a function of waits.lua with a deadline and a descriptor. */
static int call_waits(lua_State *L, int function, double deadline, lua_Integer descriptor)
{
    lua_settop(L, 0);
    lua_rawgeti(L, WS_UP_PRIVATE, function);
    lua_pushnumber(L, deadline);
    lua_pushinteger(L, descriptor);
    lua_callk(L, 2, LUA_MULTRET, 0, finish_call);
    return lua_gettop(L);
}

/* ---- poll */

static const delivery poll_delivery;

WS_CONTINUATION(poll_continues)(lua_State *L, int status, lua_KContext count)
{
    (void)status;
    lua_pushinteger(L, ws_deliver_on(L, ws_module(L), (lua_Integer)count, &poll_delivery));
    return 1;
}

static const delivery poll_delivery = {poll_continues, HUGE_VAL, NULL, NULL};

/* websocket.poll([timeout [, descriptor]]) -> events delivered, whether the descriptor is readable */
int ws_poll(lua_State *L)
{
    module_state *module = ws_module(L);
    double seconds = check_timeout(L, 0);
    if (!module->state || ws_is_too_deep(module)) {
        lua_pushinteger(L, 0);
        return 1;
    }
    double now = seconds > 0 ? ws_monotonic() : 0, deadline = now + seconds;
    if (!lua_isnoneornil(L, 2)) {
        lua_Number descriptor = luaL_checknumber(L, 2);
        bool is_descriptor = descriptor >= 0 && descriptor <= INT_MAX && descriptor == floor(descriptor);
        luaL_argcheck(L, is_descriptor, 2, "a descriptor expected");
        return call_waits(L, WS_PRIVATE_POLL_DESCRIPTOR, deadline, (lua_Integer)descriptor);
    }
    if (seconds > 0 && waits_in_coroutine(L)) return call_waits(L, WS_PRIVATE_POLL, deadline, 0);
    for (;;) {
        uint64_t before = module->delivered, timers_before = module->timers_run;
        uint64_t last = prepare_delivery(L, module, now, deadline);
        lua_Integer count = ws_deliver(L, module, last, 0, &poll_delivery);
        /* Only records that the script does not see were delivered: wait for the rest of the time. */
        if (count == 0 && module->delivered != before && module->timers_run == timers_before && module->state &&
            (now = ws_monotonic()) < deadline)
            continue;
        lua_pushinteger(L, count);
        return 1;
    }
}

/* ---- run */

static int run_on(lua_State *L, module_state *module);

WS_CONTINUATION(run_continues)(lua_State *L, int status, lua_KContext count)
{
    (void)status;
    module_state *module = ws_module(L);
    const ws_run_state *run = lua_touserdata(L, INDEX_TARGET);
    delivery how = {run_continues, lua_tonumber(L, INDEX_DEADLINE), NULL, &run->is_stopped};
    if (ws_is_too_deep(module)) return fail_nested(L);
    ws_deliver_on(L, module, (lua_Integer)count, &how);
    return run_on(L, module);
}

static int run_on(lua_State *L, module_state *module)
{
    double deadline = lua_tonumber(L, INDEX_DEADLINE);
    const ws_run_state *run = lua_touserdata(L, INDEX_TARGET);
    delivery how = {run_continues, deadline, NULL, &run->is_stopped};
    while (!ws_is_run_over(ws_module(L), run)) {
        double now = ws_monotonic();
        bool is_last = now >= deadline;
        uint64_t last = prepare_delivery(L, module, now, deadline);
        if (is_last) how.until = HUGE_VAL; /* what is queued is delivered, as poll(0) does */
        ws_deliver(L, module, last, 0, &how);
        if (is_last) break;
    }
    lua_pushboolean(L, ws_is_idle(module));
    return 1;
}

/* websocket.run([timeout]) -> whether no websocket is live and no timer is set */
int ws_run(lua_State *L)
{
    module_state *module = ws_module(L);
    double deadline = ws_monotonic() + check_timeout(L, HUGE_VAL);
    if (ws_is_too_deep(module)) return fail_nested(L);
    if (waits_in_coroutine(L)) return call_waits(L, WS_PRIVATE_RUN, deadline, 0);
    set_deadline(L, deadline);
    ws_begin_run(L);
    lua_replace(L, INDEX_TARGET);
    return run_on(L, module);
}

/* ---- step, for waits.lua */

/* INDEX_TARGET has a websocket, a run's state, or nil. */
static delivery step_delivery(lua_State *L, const module_state *module, lua_KFunction continuation, double until)
{
    const ws_run_state *run = ws_run_at(L, INDEX_TARGET, module);
    const lua_websocket *target = run ? NULL : ws_known_at(L, INDEX_TARGET);
    return (delivery){continuation, until, target, run ? &run->is_stopped : NULL};
}

/* After a callback that has yielded, so something was delivered. */
WS_CONTINUATION(step_continues)(lua_State *L, int status, lua_KContext count)
{
    (void)status;
    module_state *module = ws_module(L);
    delivery how = step_delivery(L, module, step_continues, HUGE_VAL);
    lua_pushinteger(L, ws_deliver_on(L, module, (lua_Integer)count, &how));
    lua_pushboolean(L, true);
    lua_pushboolean(L, true);
    return 3;
}

int ws_step(lua_State *L)
{
    module_state *module = ws_module(L);
    double deadline = lua_tonumber(L, INDEX_DEADLINE);
    if (!module->state) return luaL_error(L, "websocket can't wait: the Lua state closes");
    if (ws_is_too_deep(module)) return fail_nested(L);
    double now = ws_monotonic();
    bool waits = now < deadline;
    delivery how = step_delivery(L, module, step_continues, waits ? deadline : HUGE_VAL);
    uint64_t before = module->delivered, timers_before = module->timers_run;
    uint64_t last = prepare_delivery(L, module, now, deadline);
    lua_Integer count = ws_deliver(L, module, last, 0, &how);
    bool has_run = module->timers_run != timers_before;
    lua_pushinteger(L, count);
    lua_pushboolean(L, count || has_run);
    lua_pushboolean(L, module->delivered != before || has_run);
    return 3;
}
