/* A host with one thread for each of its servers, each of which makes Lua states one after the other while the other threads
 * poll, and closes them in the middle of whatever they do.
 *
 *   states SECONDS SCRIPT ELSEWHERE URL…     a thread for each URL
 *
 * The script runs once in each state and may leave everything open. Its globals: url, elsewhere, thread and round (numbers), and
 * wait(descriptor, seconds), which is poll(2). It returns how many messages came back. Prints the sums: "STATES MESSAGES". */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct client {
    pthread_t thread;
    const char *url;
    int number, states;
    long messages;
} client;

static const char *script, *elsewhere;
static double end;

static double monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int wait_readable(lua_State *L)
{
    struct pollfd descriptor = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
    double seconds = luaL_checknumber(L, 2);
    int milliseconds = seconds < 1000 ? (int)(seconds * 1000) + 1 : 1000000;
    lua_pushboolean(L, poll(&descriptor, 1, milliseconds) > 0);
    return 1;
}

static void set_string(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setglobal(L, name);
}

static void set_number(lua_State *L, const char *name, int value)
{
    lua_pushinteger(L, value);
    lua_setglobal(L, name);
}

static void *run(void *argument)
{
    client *self = argument;
    while (monotonic() < end) {
        lua_State *L = luaL_newstate();
        luaL_openlibs(L);
        set_string(L, "url", self->url);
        set_string(L, "elsewhere", elsewhere);
        set_number(L, "thread", self->number);
        set_number(L, "round", self->states++);
        lua_register(L, "wait", wait_readable);
        if (luaL_loadfile(L, script) || lua_pcall(L, 0, 1, 0)) {
            fprintf(stderr, "thread %d, state %d: %s\n", self->number, self->states, lua_tostring(L, -1));
            _Exit(1);
        }
        self->messages += (long)lua_tointeger(L, -1);
        lua_close(L);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    enum { most = 16 };
    static client clients[most];
    int count = argc - 4;
    if (count < 1 || count > most) return 2;
    end = monotonic() + atof(argv[1]);
    script = argv[2];
    elsewhere = argv[3];
    for (int i = 0; i < count; i++) {
        clients[i].url = argv[4 + i];
        clients[i].number = i;
        pthread_create(&clients[i].thread, NULL, run, &clients[i]);
    }
    int states = 0;
    long messages = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        states += clients[i].states;
        messages += clients[i].messages;
    }
    printf("%d %ld\n", states, messages);
    return 0;
}
