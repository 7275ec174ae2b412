/* A host that refuses an allocation of Lua's: runs a script again and again, each time in a new state. In the first run no
 * allocation fails, in the next ones the FIRST, the FIRST + STRIDE-th and so on, until a run makes no so many allocations.
 *
 *   refusals HOW FIRST STRIDE LIBRARY SCRIPT ARGUMENT…
 *
 * Only allocations inside `try` count. LIBRARY is a script, called with a table of the functions below; SCRIPT is called
 * with its result and the ARGUMENTs, and returns a text, which has to be the same in each run. Prints each wrong run, then
 * the numbers of runs and of errors. HOW is
 *   once      the allocation fails, and no later one
 *   until     it fails, and so do all later ones until the error has reached `try`
 *   collect   no allocation fails, but each of them makes Lua collect its garbage first (Lua 5.3 and later); one run
 * With "busy-" before it, Lua collects garbage all the time. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The allocator. */

static enum { NEVER, ONCE, UNTIL_CAUGHT, COLLECT } how;
static bool is_counting;   /* in `try`, and not in `quiet` */
static long countdown;     /* allocations up to the one that fails */
static bool is_failing;    /* UNTIL_CAUGHT: the first has failed */
static bool was_reached;   /* an allocation has failed in this run */
static long blocks;        /* that Lua holds; LuaJIT frees some with a wrong size, so no bytes are counted */
static size_t tried_again; /* bytes that Lua tries to allocate a second time; 0: none */
static const void *tried_old;

/* Lua 5.2 and later collect garbage when an allocation fails, and try it again. */
enum { TRIES = LUA_VERSION_NUM == 501 ? 1 : 2 };

static bool is_refused(const void *old, size_t size)
{
    bool is_second = tried_again == size && tried_old == old;
    tried_again = 0;
    if (is_second) return how != COLLECT;
    if (!is_counting || how == NEVER) return false;
    /* 5.2 does not try again while it runs a finalizer, 5.5 not while it moves its stack. */
    if (how == COLLECT && (LUA_VERSION_NUM < 503 || (LUA_VERSION_NUM >= 505 && old))) return false;
    if (!is_failing && how != COLLECT && --countdown != 0) return false;
    was_reached = true;
    is_failing = how == UNTIL_CAUGHT;
    if (TRIES == 2) {
        tried_again = size;
        tried_old = old;
    }
    return true;
}

/* Moves every block whose size changes, and spoils the old one, so that nothing goes on using it. */
static void *allocate(void *context, void *old, size_t old_size, size_t size)
{
    (void)context;
    if (!old) old_size = 0;
    if (size > old_size && is_refused(old, size)) return NULL;
    void *memory = NULL;
    if (size) {
        memory = malloc(size);
        if (!memory) abort();
        memset(memory, 0xA5, size);
        if (old) memcpy(memory, old, size < old_size ? size : old_size);
    }
    if (old) memset(old, 0x5A, old_size);
    free(old);
    blocks += !!memory - !!old;
    return memory;
}

/* ---- The functions for the scripts. */

static long errors; /* of this run */

static bool is_memory_error(lua_State *L, int status)
{
    if (status == LUA_ERRMEM) return true;
    if (lua_type(L, -1) != LUA_TSTRING) return false;
    const char *text = lua_tostring(L, -1);
    /* The others are oddities of Lua (docs/design.md): those of luaL_checkstack, and of luaL_error in 5.5. */
    size_t length = strlen(text);
    bool is_cut = LUA_VERSION_NUM >= 505 && length > 2 && !strcmp(text + length - 2, ": ");
    return !strcmp(text, "not enough memory") || strstr(text, "stack overflow") || is_cut;
}

/* Calls the function at index `first`, with the arguments behind it, until it raises no memory error. Leaves its results,
 * or another error, behind them, and returns the status. */
static int call_until_done(lua_State *L, int first)
{
    bool was_counting = is_counting;
    int count = lua_gettop(L);
    for (;;) {
        is_counting = false;
        luaL_checkstack(L, count + 20, "try");
        for (int i = first; i <= count; i++) lua_pushvalue(L, i);
        is_counting = true;
        int status = lua_pcall(L, count - first, LUA_MULTRET, 0);
        is_counting = was_counting;
        tried_again = 0; /* without a second try, as while 5.2 runs a finalizer */
        if (!status || !is_memory_error(L, status)) return status;
        if (is_failing) {
            is_failing = false;
            how = NEVER;
        }
        if (++errors > (was_reached ? 1 : 0)) luaL_error(L, "more memory errors than refusals: %s", lua_tostring(L, -1));
        lua_settop(L, count);
    }
}

/* try(f, …): the results of f(…), which is called again after a memory error. */
static int try(lua_State *L)
{
    int count = lua_gettop(L);
    if (call_until_done(L, 1)) return lua_error(L);
    return lua_gettop(L) - count;
}

/* raises(text, f, …): f(…) must raise an error with this text; it is called again after a memory error. */
static int raises(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    if (!call_until_done(L, 2)) return luaL_error(L, "no error; expected: %s", text);
    const char *error = lua_tostring(L, -1);
    if (!error || !strstr(error, text)) return luaL_error(L, "'%s' instead of: %s", error ? error : "no text", text);
    return 0;
}

static int call_quietly(lua_State *L)
{
    bool was_counting = is_counting;
    is_counting = false;
    int count = lua_gettop(L);
    luaL_checkstack(L, 2 * count + 20, "quiet");
    lua_pushvalue(L, lua_upvalueindex(1));
    for (int i = 1; i <= count; i++) lua_pushvalue(L, i);
    int status = lua_pcall(L, count, LUA_MULTRET, 0);
    is_counting = was_counting;
    if (status) return lua_error(L);
    if (lua_isnil(L, lua_upvalueindex(2))) return lua_gettop(L) - count;
    lua_settop(L, count);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_call(L, count, LUA_MULTRET);
    return lua_gettop(L);
}

/* quiet(f [, g]): a function that calls f with its arguments, where no allocation fails; then g with the same, where one
 * may. A call of it allocates nothing: it is a handler that is called exactly once for each event. */
static int quiet(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushcclosure(L, call_quietly, 2);
    return 1;
}

/* await(descriptor, seconds): whether it is readable within that time. */
static int await(lua_State *L)
{
    struct pollfd waited = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
    lua_pushboolean(L, poll(&waited, 1, (int)(luaL_checknumber(L, 2) * 1000)) == 1 && waited.revents & POLLIN);
    return 1;
}

static const luaL_Reg functions[] = {
    {"try", try}, {"raises", raises}, {"quiet", quiet}, {"await", await}, {NULL, NULL}};

/* ---- The runs. */

static int wrong_runs, all_errors;

static void report(long number, const char *text)
{
    printf("allocation %ld: %s\n", number, text);
    fflush(stdout);
    wrong_runs++;
}

static void fail_late(int signal)
{
    (void)signal;
    static const char text[] = "a run takes too long\n";
    if (write(1, text, sizeof text - 1)) {}
    _exit(3);
}

static lua_State *new_state(bool is_busy)
{
#if LUA_VERSION_NUM >= 505
    lua_State *L = lua_newstate(allocate, NULL, 0); /* 0: the seed of its hashes */
#else
    lua_State *L = lua_newstate(allocate, NULL);
#endif
    if (!L) {
        puts("lua_newstate takes no allocator");
        exit(2);
    }
    luaL_openlibs(L);
#ifdef LUA_JITLIBNAME
    /* Compiled code that collects garbage all the time takes minutes. The compiler of 2.1.0-beta3 does not survive a refused
     * allocation (docs/workarounds.md, "Lua"). */
    if (luaL_dostring(L, is_busy ? "jit.off()" : "if jit.version:find 'beta' then jit.off() end")) exit(2);
#endif
#if LUA_VERSION_NUM == 504
    if (is_busy) lua_gc(L, LUA_GCINC, 1, 1000, 6);
#elif LUA_VERSION_NUM < 504
    if (is_busy) lua_gc(L, LUA_GCSETPAUSE, 0);
    if (is_busy) lua_gc(L, LUA_GCSETSTEPMUL, 5000);
#else
    (void)is_busy;
#endif
    return L;
}

/* Runs the script once. `expected`: its result in the first run. Returns its result. */
static char *run(char **files, int count, long number, bool is_busy, const char *expected)
{
    countdown = number;
    is_counting = is_failing = was_reached = false;
    tried_again = 0;
    errors = 0;
    alarm(30);
    lua_State *L = new_state(is_busy);
    int status = luaL_loadfile(L, files[1]);
    if (!status) status = luaL_loadfile(L, files[0]);
    if (!status) {
        lua_newtable(L);
        for (const luaL_Reg *f = functions; f->name; f++) {
            lua_pushcfunction(L, f->func);
            lua_setfield(L, -2, f->name);
        }
        status = lua_pcall(L, 1, 1, 0);
    }
    if (!status) {
        for (int i = 2; i < count; i++) lua_pushstring(L, files[i]);
        status = lua_pcall(L, count - 1, 1, 0);
    }
    const char *text = lua_tostring(L, -1);
    char *result = strdup(text ? text : "no text");
    if (status || !text || (expected && strcmp(expected, text))) {
        report(number, result);
        if (!status && expected) printf("instead of: %s\n", expected);
    }
    lua_close(L);
    if (blocks) report(number, "lua_close has left memory");
    blocks = 0;
    all_errors += (int)errors;
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 6) return 2;
    bool is_busy = !strncmp(argv[1], "busy-", 5);
    const char *name = argv[1] + (is_busy ? 5 : 0);
    signal(SIGALRM, fail_late);
    how = NEVER;
    char *expected = run(argv + 4, argc - 4, 0, is_busy, NULL);
    long number = atol(argv[2]), stride = atol(argv[3]), runs = 0;
    if (wrong_runs) return 1;
    do {
        how = !strcmp(name, "collect") ? COLLECT : !strcmp(name, "until") ? UNTIL_CAUGHT : ONCE;
        free(run(argv + 4, argc - 4, number, is_busy, expected));
        number += stride;
        runs++;
    } while (was_reached && wrong_runs < 5 && strcmp(name, "collect"));
    free(expected);
    printf("%ld runs, %d errors, %d wrong\n", runs, all_errors, wrong_runs);
    return wrong_runs != 0;
}
