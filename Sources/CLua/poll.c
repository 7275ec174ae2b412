/* The functions poll and run: fetch the engine's records, wait for the first, deliver them (deliver.c). They run on the
 * script's thread, which runs the engine's loop while it waits. */
#include "deliver.h"
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

/* Runs a debug hook, such as the interpreter's own for Ctrl-C, which is run at a call: an endless wait makes none. */
static void run_hooks(lua_State *L)
{
    if (lua_gethook(L)) ws_call_empty_function(L);
}

/* Seconds of the monotonic clock. */
static double monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Waits up to `seconds` for the first record; returns the time when the wait began. A signal whose handler sets a hook,
 * as the interpreter's own for Ctrl-C does, must end the wait. So signals are blocked from the last look at the hook to
 * the wait itself. That costs two system calls, so the first `brief` seconds of a wait do without. */
static double wait_for_records(lua_State *L, module_state *module, double seconds)
{
    const double brief = 0.1;
    double start = monotonic();
    ws_fetch_records(module, start + fmin(seconds, brief), NULL);
    /* Seconds by which a wait may end early because its limit is rounded; if it ends earlier, a signal has ended it. */
    const double rounding = 1e-6;
    if (module->cursor != module->end || seconds <= brief || monotonic() < start + brief - rounding) return start;
    sigset_t all, before;
    sigfillset(&all);
    for (;;) {
        lua_Hook hook = lua_gethook(L);
        run_hooks(L);
        ws_check_fork(L, module);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        bool is_quiet = lua_gethook(L) == hook;
        if (is_quiet) ws_fetch_records(module, start + seconds, &before);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (is_quiet) return start;
    }
}

/* Fetches the queued records, or waits up to `seconds` for the first, and prepares the stack for the delivery of these
 * and no later ones. Returns when the wait began. */
static double prepare_delivery(lua_State *L, module_state *module, double seconds)
{
    double start = 0;
    /* The last callback may have forked. */
    ws_check_fork(L, module);
    module->polls++;
    ws_report_delivered(module);
    /* Fetched records remain if a callback raised, or if this poll is called by one: those queued behind them count. */
    size_t more = module->cursor == module->end ? 0 : ws_state_queued(module->state);
    if (seconds > 0)
        start = wait_for_records(L, module, seconds);
    else
        ws_fetch_records(module, 0, NULL);
    uint64_t last = module->fetched + more;
    lua_settop(L, 1);
    lua_pushinteger(L, (lua_Integer)last);
    lua_pushliteral(L, "");
    return start;
}

static double check_timeout(lua_State *L, double default_seconds)
{
    lua_Number seconds = luaL_optnumber(L, 1, default_seconds);
    luaL_argcheck(L, !isnan(seconds), 1, "a time in seconds expected, got NaN");
    return seconds;
}

WS_CONTINUATION(poll_continues)(lua_State *L, int status, lua_KContext count)
{
    (void)status;
    lua_pushinteger(L, ws_deliver(L, ws_module(L), (lua_Integer)count, poll_continues));
    return 1;
}

/* websocket.poll([timeout]) -> events delivered */
int ws_poll(lua_State *L)
{
    double seconds = check_timeout(L, 0);
    module_state *module = ws_module(L);
    if (!module->state) {
        lua_pushinteger(L, 0);
        return 1;
    }
    for (;;) {
        uint64_t before = module->delivered;
        double start = prepare_delivery(L, module, seconds);
        lua_Integer count = ws_deliver(L, module, 0, poll_continues);
        /* Only WS_EVENT_ENDED records were delivered, which the script does not see: wait for the rest of the time. */
        if (count == 0 && module->delivered != before && seconds > 0 && module->state) {
            seconds = start + seconds - monotonic();
            if (seconds > 0) continue;
        }
        lua_pushinteger(L, count);
        return 1;
    }
}

static int run_on(lua_State *L);

WS_CONTINUATION(run_continues)(lua_State *L, int status, lua_KContext count)
{
    (void)status;
    ws_deliver(L, ws_module(L), (lua_Integer)count, run_continues);
    return run_on(L);
}

/* Index 1 holds the time at which to stop, by the monotonic clock. */
static int run_on(lua_State *L)
{
    module_state *module = ws_module(L);
    while (ws_module(L)->live) {
        double left = lua_tonumber(L, 1) - monotonic();
        prepare_delivery(L, module, left);
        run_hooks(L);
        ws_deliver(L, module, 0, run_continues);
        if (left <= 0) break;
    }
    lua_pushboolean(L, module->live == 0);
    return 1;
}

/* websocket.run([timeout]) -> whether no websocket is live */
int ws_run(lua_State *L)
{
    double stop = monotonic() + check_timeout(L, HUGE_VAL);
    lua_settop(L, 0);
    lua_pushnumber(L, stop);
    return run_on(L);
}
