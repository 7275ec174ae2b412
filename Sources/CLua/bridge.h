/* What the C files of the binding share: the two userdata and the stack positions of their parts. */
#ifndef WS_BINDING_H
#define WS_BINDING_H

#include "CLua.h"
#include <Forks.h>
#include <lauxlib.h>
#include <lua.h>

/* Upvalues of every function of the module. */
#define WS_UP_STATE lua_upvalueindex(1)     /* module_state */
#define WS_UP_LIVE lua_upvalueindex(2)      /* id -> websocket, for those that are started */
#define WS_UP_METATABLE lua_upvalueindex(3) /* of websockets */

/* User values of a websocket. */
enum {
    WS_VALUE_HANDLER = 1,
    WS_VALUE_DEBUG,
    WS_VALUE_URL,
    WS_VALUE_OPENED,
    WS_VALUE_CLOSED,
    WS_VALUES = WS_VALUE_CLOSED
};

typedef struct websocket websocket;

/* One for each Lua state. */
typedef struct module_state {
    ws_state *state;
    const char *cursor; /* the next record to deliver */
    const char *end;    /* of the records that were taken */
    uint64_t taken;     /* records, since the module was loaded */
    uint64_t delivered;
    uint64_t tried; /* the record whose values Lua had no memory for, counted as `delivered` */
    uint64_t polls;
    uint32_t sockets; /* made so far: the last id */
    uint32_t live;
    int forks; /* of ws_forks, that this process is known to come from */
    websocket *first; /* of those that were not released */
    websocket *run; /* whose records were delivered last, and how many bytes of them are not accounted for */
    size_t run_bytes;
} module_state;

struct websocket {
    module_state *module; /* by which a userdata is known to be one of this state's websockets */
    ws_options *options; /* until the constructor is done */
    ws_socket *socket;   /* from then on */
    uint32_t id;
    uint32_t starts; /* calls of connect() whose WS_EVENT_FINAL record was not delivered yet */
    bool started;   /* between connect and the end that the script has seen or asked for */
    uint32_t opens;  /* OPEN events delivered */
    uint64_t sent;  /* at which poll the last message was sent */
    websocket *next, **link; /* in the module's list; what points to this one, while it is there */
};

/* options.c: reads the constructor's table at index 1 into the websocket on top of the stack. */
void ws_read_options(lua_State *L, websocket *ws);

/* open.c: closes all websockets; their connections, what waits to be sent and their events are the parent's. `L`,
 * which has the module's upvalues, may be NULL when the state closes. */
void ws_begin_anew(lua_State *L, module_state *module) __attribute__((cold));

/* poll.c */
int ws_poll(lua_State *L);
int ws_run(lua_State *L);
void ws_account(module_state *state);

/* object.c */
int ws_constructor(lua_State *L);
void ws_release(websocket *ws);
extern const luaL_Reg ws_methods[];
extern const luaL_Reg ws_metamethods[];

/* In a child of fork, lets go of what is the parent's. */
static inline void ws_follow_fork(lua_State *L, module_state *module)
{
    if (module->forks != ws_forks) ws_begin_anew(L, module);
}

/* The state's module: every function of the script's comes in by this. */
static inline module_state *ws_module(lua_State *L)
{
    module_state *module = lua_touserdata(L, WS_UP_STATE);
    ws_follow_fork(L, module);
    return module;
}

static inline ws_slice ws_slice_at(lua_State *L, int index)
{
    ws_slice slice;
    slice.bytes = lua_tolstring(L, index, &slice.count);
    return slice;
}

#endif
