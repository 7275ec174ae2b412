/* The two userdata of the binding, which its C files share, and the functions that they have for each other. Only the
 * thread that runs the Lua state touches them. Lua's headers are included here, by compat.h. */
#ifndef WS_BRIDGE_H
#define WS_BRIDGE_H

#include "CLua.h"
#include "compat.h"
#include <Forks.h>

/* Upvalues of every function of the module. */
#define WS_UP_STATE lua_upvalueindex(1)     /* module_state */
#define WS_UP_LIVE lua_upvalueindex(2)      /* table: id -> live websocket, which keeps it from being collected */
#define WS_UP_METATABLE lua_upvalueindex(3) /* metatable of websockets */

/* User values of a websocket. */
enum {
    WS_VALUE_HANDLER = 1, /* option onreceive */
    WS_VALUE_DEBUG,       /* option debug */
    WS_VALUE_URL,         /* option url */
    WS_VALUE_OPENED,      /* info of the last OPEN */
    WS_VALUE_CLOSED,      /* info of the last CLOSE */
    WS_VALUES = WS_VALUE_CLOSED
};

typedef struct lua_websocket lua_websocket;

/* One for each Lua state. */
typedef struct module_state {
    ws_state *state;
    ws_event *cursor;   /* the next record to deliver */
    ws_event *end;      /* end of the fetched records */
    uint64_t fetched;   /* records fetched since the module was loaded */
    uint64_t delivered; /* records delivered since then */
    uint64_t attempted; /* number of the last record whose values were pushed, successfully or not */
    uint64_t polls;     /* calls of poll and turns of run */
    uint32_t last_id;   /* id of the last websocket that was made */
    uint32_t live;      /* websockets whose last WS_EVENT_FINAL record was not delivered yet */
    int forks_seen;     /* value of ws_forks when the state was last reset */
    lua_websocket *websockets; /* list of the websockets that were not released */
    /* The websocket of the last delivered records, and their bytes: reported to the engine in one call. */
    lua_websocket *unreported_owner;
    size_t unreported_bytes;
} module_state;

struct lua_websocket {
    module_state *module;      /* type tag: a userdata is ours if it has our size and this pointer */
    ws_options *options;       /* only while the constructor runs */
    ws_websocket *engine_side; /* from the constructor's end to the release */
    uint32_t id;               /* what the records of this websocket carry */
    uint32_t starts;           /* calls of connect() whose WS_EVENT_FINAL record was not delivered yet */
    bool started;              /* between connect and the end that the script has seen or asked for */
    uint32_t opens_delivered;  /* OPEN events delivered */
    uint64_t last_send_poll;   /* value of module_state.polls at the last send */
    lua_websocket *next;       /* in module_state.websockets */
    lua_websocket **prev_next; /* the pointer that points to this websocket; NULL once it is released */
};

/* options.c: reads the table at index 1 into `target` and into the user values of the userdata at index 2. */
void ws_read_options(lua_State *L, ws_options *target);

/* open.c: in a forked child, closes all websockets without an event: their connections, unsent messages and records
 * belong to the parent. `L` must have the module's upvalues; it is NULL when the state closes. */
void ws_reset_after_fork(lua_State *L, module_state *module) __attribute__((cold));

/* poll.c */
int ws_poll(lua_State *L);
int ws_run(lua_State *L);

/* deliver.c: reports the delivered bytes to the engine, which may then queue more. */
void ws_report_delivered(module_state *module);

/* object.c; ws_release closes the websocket and takes it out of module_state.websockets. */
int ws_constructor(lua_State *L);
void ws_release(lua_websocket *ws);
/* __index: a method, or else a property; nil for any other name. Its fourth upvalue is the table of methods. */
int ws_get_field(lua_State *L);
extern const luaL_Reg ws_methods[];
extern const luaL_Reg ws_metamethods[];

/* Resets the module if this process is a child that was forked since the last call. */
static inline void ws_check_fork(lua_State *L, module_state *module)
{
    if (module->forks_seen != ws_forks) ws_reset_after_fork(L, module);
}

/* Every function that a script calls gets the module by this one. */
static inline module_state *ws_module(lua_State *L)
{
    module_state *module = lua_touserdata(L, WS_UP_STATE);
    ws_check_fork(L, module);
    return module;
}

static inline ws_slice ws_slice_at(lua_State *L, int index)
{
    ws_slice slice;
    slice.bytes = lua_tolstring(L, index, &slice.count);
    return slice;
}

#endif
