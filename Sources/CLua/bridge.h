/* The two userdata of the binding, which its C files share, and the functions that they have for each other. Only the
 * thread that runs the Lua state touches them. Lua's headers are included here, by compat.h. */
#ifndef WS_BRIDGE_H
#define WS_BRIDGE_H

#include "CLua.h"
#include "compat.h"
#include <Forks.h>
#include <pthread.h>

/* Upvalues of every function of the module. */
#define WS_UP_STATE lua_upvalueindex(1)     /* module_state */
#define WS_UP_LIVE lua_upvalueindex(2)      /* table: id -> live websocket, which keeps it from being collected */
#define WS_UP_METATABLE lua_upvalueindex(3) /* metatable of websockets */
#define WS_UP_PRIVATE lua_upvalueindex(4)   /* table: see below */
enum { WS_UPVALUES = 4 };

/* Keys of the private table. The other keys are addresses: of timers that are set, the values are the timers; and of
 * lua_websockets and lua_servers, the values are the userdata that have this memory. */
enum {
    WS_PRIVATE_MODULE = 1,      /* the module's table */
    WS_PRIVATE_POLL,            /* functions of waits.lua: poll and run in a coroutine, poll with a descriptor */
    WS_PRIVATE_RUN,
    WS_PRIVATE_POLL_DESCRIPTOR,
    WS_PRIVATE_YIELD,           /* that of websocket.yield */
    WS_PRIVATE_TIMERS,          /* memory of module_state.timers */
    WS_PRIVATE_TIMER_METATABLE,
    WS_PRIVATE_QUESTION_METATABLE,
    WS_PRIVATE_PUSH_VALUES,     /* functions for lua_pcall: 5.1 would have to allocate them */
    WS_PRIVATE_MAKE_ROOM,
    WS_PRIVATE_RESERVE_SLOTS,
    WS_PRIVATE_SERVER_METATABLE,
    WS_PRIVATE_REQUEST_METATABLE,       /* of the table that onrequest gets */
    WS_PRIVATE_REQUEST_OWNER_METATABLE, /* of the userdata behind it: request.c */
    WS_PRIVATE_SERVERS,         /* id -> server, until its WS_EVENT_SERVER_ENDED */
    WS_PRIVATE_REQUESTS,        /* id of a websocket -> the request that was accepted, until its OPEN */
    WS_PRIVATE_WAITING_REQUESTS, /* weak: table of onrequest -> userdata behind it */
    WS_PRIVATE_READ_ANSWER,
    WS_PRIVATE_ANSWER_REQUEST,
    WS_PRIVATE_WEAK_METATABLE,  /* of tables that do not keep their keys alive */
    WS_PRIVATE_RUNNING,         /* table: coroutine that has called run -> true */
};

/* User values of a websocket. */
enum {
    WS_VALUE_HANDLER = 1, /* option onreceive */
    WS_VALUE_DEBUG,       /* option debug */
    WS_VALUE_ATTEMPT,     /* option onattempt */
    WS_VALUE_URL,         /* option url */
    WS_VALUE_OPENED,      /* info of the last OPEN */
    WS_VALUE_CLOSED,      /* info of the last CLOSE */
    WS_VALUE_ERROR,       /* text of the last ERROR; nil after an OPEN */
    WS_VALUE_INBOX,       /* messages for `receive`, if there is no handler: waits.c */
    WS_VALUE_WAITING,     /* table: coroutine that waits in websocket.yield -> true; false if it is unclaimed */
    WS_VALUE_SERVER,      /* the server that has accepted it */
    WS_VALUE_MEMORY,      /* userdata: memory of the lua_websocket */
    WS_VALUES = WS_VALUE_MEMORY
};

/* User values of a server. */
enum {
    WS_SERVER_HANDLER = 1, /* option onreceive, for each accepted websocket */
    WS_SERVER_REQUEST,     /* option onrequest */
    WS_SERVER_DEBUG,       /* option debug */
    WS_SERVER_MEMORY,      /* userdata: memory of the lua_server */
    WS_SERVER_VALUES = WS_SERVER_MEMORY
};

typedef struct lua_websocket lua_websocket;
typedef struct lua_server lua_server;
typedef struct ws_timer ws_timer;

enum { WS_MAX_NESTED = 40 };

/* One for each Lua state. */
typedef struct module_state {
    ws_state *state;
    ws_event *cursor;   /* the next record to deliver */
    ws_event *end;      /* end of the fetched records */
    uint64_t fetched;   /* records fetched since the module was loaded */
    uint64_t delivered; /* records delivered since then */
    uint64_t attempted; /* number of the last record whose values were pushed, successfully or not */
    uint64_t polls;     /* calls of poll and turns of run */
    uint32_t live;      /* websockets whose last WS_EVENT_FINAL record was not delivered yet, and servers that listen */
    int forks_seen;     /* value of ws_forks when the state was last reset */
    lua_websocket *websockets; /* list of the websockets that were not released */
    lua_server *servers;       /* list of the servers that were not released */
    /* The websocket of the last delivered records, and their bytes: reported to the engine in one call. */
    lua_websocket *unreported_owner;
    size_t unreported_bytes;
    /* Timers that are set, a heap (timers.c). */
    ws_timer **timers;
    size_t timer_count, timer_capacity;
    double next_timer;    /* time of the earliest; HUGE_VAL: none */
    uint64_t timers_made; /* since the module was loaded */
    uint64_t timers_run;  /* since then */
    uint64_t runs_begun;  /* since then */
    bool is_watched;      /* the script has asked for the descriptor */
    /* What websocket.fd returned last; -1 after a connect or an ERROR: the host may have closed it, and with it the engine's. */
    int descriptor;
    /* Websockets with coroutines whose event another one has delivered. The descriptor stays readable until they have run,
     * but not beyond `unclaimed_until`, a value of `polls`: they may have died. */
    uint32_t unclaimed;
    uint64_t unclaimed_until;
    bool has_run_to_wake; /* the same for a run that another coroutine has ended: runs.c */
    /* Stack frames of the deliveries that are calling a callback, the outermost first; see ws_is_nested_too_deep. */
    char *nested[WS_MAX_NESTED];
    size_t nested_count;
    pthread_t nested_thread;
} module_state;

/* Which event has told the script last why a websocket is not open. */
typedef enum ws_end { WS_END_UNKNOWN, WS_END_CLOSE, WS_END_ERROR } ws_end;

/* The userdata that a script has for a websocket or a server. The object has memory of its own, which the private table keeps
 * until the handle's finalizer has run. If Lua has no memory for the call of the finalizer, it frees the handle without it;
 * then the object stays until the state closes. */
typedef struct ws_handle {
    const void *tag; /* a websocket's: its module_state; a server's: the address of module_state.servers */
    void *memory;    /* a lua_websocket or a lua_server */
} ws_handle;

struct lua_websocket {
    module_state *module;
    ws_options *options;       /* only while the constructor runs */
    ws_websocket *engine_side; /* from the constructor's end to the release */
    uint32_t id;               /* what the records of this websocket carry */
    uint32_t starts;           /* calls of connect() whose WS_EVENT_FINAL record was not delivered yet */
    bool started;              /* between connect and the end that the script has seen or asked for */
    uint32_t opens_delivered;  /* OPEN events delivered */
    bool is_open;              /* between the delivery of OPEN and that of CLOSE */
    ws_end last_end;           /* since connect */
    uint32_t waiting_coroutines; /* coroutines in WS_VALUE_WAITING; some may have ended in websocket.yield */
    uint32_t unclaimed;        /* those of them that have not run since another one has delivered their event */
    bool is_accepted;          /* by a server */
    lua_Integer inbox_first;   /* pairs that stood before the first one in the inbox (waits.c) */
    uint32_t inbox_count;      /* pairs in it */
    uint32_t inbox_reported;   /* the oldest of them whose bytes do not count against maxqueued */
    size_t inbox_bytes;        /* bytes of all messages in it */
    size_t inbox_unreported;   /* bytes of those that count */
    uint64_t last_send_poll;   /* value of module_state.polls at the last send */
    lua_websocket *next;       /* in module_state.websockets */
    lua_websocket **prev_next; /* the pointer that points to this websocket; NULL once it is released */
};

struct lua_server {
    module_state *module;
    ws_options *options;    /* only while `listen` runs */
    ws_server *engine_side; /* from the end of `listen` to the release */
    uint32_t id;            /* what its records carry */
    bool is_live;           /* from `listen` to `close` */
    lua_server *next;       /* in module_state.servers */
    lua_server **prev_next; /* the pointer that points to this server; NULL once it is released */
};

/* options.c: reads the table at index 1 into `target` and into the user values of the userdata at index 2. */
void ws_read_options(lua_State *L, ws_options *target);
/* options.c: reads the table on top of the stack, which onattempt has returned. */
void ws_read_attempt(lua_State *L, ws_options *target);
/* options.c: as ws_read_options, for a server. */
void ws_read_server_options(lua_State *L, ws_options *target);
/* options.c: reads the table at the given index, with which a script has answered a request. */
void ws_read_answer(lua_State *L, int index, ws_options *target);

/* open.c: in a forked child, closes all websockets without an event: their connections, unsent messages and records
 * belong to the parent. `L` must have the module's upvalues; it is NULL when the state closes. */
void ws_reset_after_fork(lua_State *L, module_state *module) __attribute__((cold));

/* poll.c */
int ws_poll(lua_State *L);
int ws_run(lua_State *L);
int ws_time(lua_State *L);
/* For waits.lua: step(ws, run or nil, deadline) -> events, whether an event or a timer was among them, whether any record was. */
int ws_step(lua_State *L);
double ws_monotonic(void);

/* runs.c */
int ws_stop(lua_State *L);
/* To be called when a run may be over: websocket.stop, or nothing is live any more. If it waits in websocket.yield, the
 * descriptor wakes its coroutine. */
void ws_wake_runs(lua_State *L, module_state *module);
/* For waits.lua: begin_run() -> the state of a run; is_over(state) -> whether that run is to return; is_idle(). */
int ws_begin_run(lua_State *L);
int ws_is_over(lua_State *L);
int ws_is_module_idle(lua_State *L);

/* timers.c */
int ws_after(lua_State *L);
extern const luaL_Reg ws_timer_methods[];
extern const luaL_Reg ws_timer_metamethods[];

/* attempt.c */
extern const luaL_Reg ws_question_metamethods[];

/* descriptor.c */
int ws_fd(lua_State *L);
/* For websocket.loop and waits.lua: the same number, without a look whether it is still open. The argument is ignored. */
int ws_loop_fd(lua_State *L);
/* For waits.lua: wait(descriptor, deadline) -> whether it is readable, whether a signal ended the wait; or nil and an error's
 * text. An event ends it, too. */
int ws_wait_for_descriptor(lua_State *L);
extern const luaL_Reg ws_loop_methods[];
/* The descriptor of ws_fd is made readable, or not, as what is left to deliver says. */
void ws_show_remaining(module_state *module);

/* For lua_pcall: values.c, waits.c, attempt.c; request.c, with the upvalues. */
int ws_push_values_function(lua_State *L);
/* deliver.c. The lua_checkstack of 5.1 and LuaJIT raises if there is no memory. */
int ws_reserve_slots_function(lua_State *L);
int ws_make_room_function(lua_State *L);
int ws_read_answer_function(lua_State *L);
int ws_answer_request_function(lua_State *L);

/* waits.c */
extern const luaL_Reg ws_wait_functions[];
/* Pushes the compiled chunk of waits.lua: its arguments are the module, the table of methods, and a table of
 * ws_wait_functions; it returns the functions for WS_PRIVATE_POLL and the keys behind it. */
void ws_push_waits(lua_State *L);

/* The script has closed the websocket: what is in its inbox no longer counts against maxqueued, or the peer's Close behind
 * more messages would never be read. */
void ws_report_inbox(lua_websocket *ws);

/* options.c: whether the value is a function or has __call. */
bool ws_is_callable(lua_State *L, int index);

/* Reports the delivered bytes to the engine, which may then queue more; ws_report_bytes (deliver.c) if there are any. */
void ws_report_bytes(module_state *module);
static inline void ws_report_delivered(module_state *module)
{
    if (module->unreported_owner) ws_report_bytes(module);
}

/* server.c */
int ws_listen(lua_State *L);
void ws_release_server(lua_server *server);
/* In a forked child. `L` as in ws_reset_after_fork. */
void ws_reset_servers(lua_State *L, module_state *module);
extern const luaL_Reg ws_server_methods[];
extern const luaL_Reg ws_server_metamethods[];
/* __index; the table of methods is its upvalue behind the others. */
int ws_get_server_field(lua_State *L);

/* request.c */
extern const luaL_Reg ws_request_methods[];
extern const luaL_Reg ws_request_owner_metamethods[];

/* broadcast.c */
int ws_broadcast_text(lua_State *L);
int ws_broadcast_binary(lua_State *L);

/* object.c; ws_new_websocket pushes a websocket without an engine's side. ws_release closes the websocket and takes it out of module_state.websockets. */
int ws_constructor(lua_State *L);
lua_websocket *ws_new_websocket(lua_State *L, module_state *module);
/* Pushes a handle whose object has `size` zeros; the last user value is the memory. The finalizer that the caller gives it has
 * to call ws_forget_memory. Once this has not raised, neither that nor lua_setmetatable raises. */
void *ws_new_handle(lua_State *L, size_t size, int values, const void *tag);
void ws_forget_memory(lua_State *L, void *memory);
void ws_release(lua_websocket *ws);
/* __index: a method, or else a property; nil for any other name. The table of methods is its upvalue behind the
 * others. */
int ws_get_field(lua_State *L);
extern const luaL_Reg ws_methods[];
extern const luaL_Reg ws_metamethods[];

/* Resets the module if this process is a child that was forked since the last call. */
static inline void ws_check_fork(lua_State *L, module_state *module)
{
    if (module->forks_seen != ws_forks) ws_reset_after_fork(L, module);
}

static inline void ws_show(module_state *module)
{
    if (module->is_watched) ws_show_remaining(module);
}

/* Whether `run` has nothing to wait for. */
static inline bool ws_is_idle(const module_state *module)
{
    return (!module->live && !module->timer_count) || !module->state;
}

static inline void ws_wake_runs_if_idle(lua_State *L, module_state *module)
{
    if (ws_is_idle(module)) ws_wake_runs(L, module);
}

/* The descriptor stays readable for a coroutine that has something to do, but not for ever: it may have died. */
static inline void ws_stay_readable(module_state *module)
{
    enum { patience = 10000 };
    module->unclaimed_until = module->polls + patience;
}

/* So many coroutines have to learn that their event was delivered. */
static inline void ws_set_unclaimed(lua_websocket *ws, uint32_t count)
{
    ws->module->unclaimed += (count > 0) - (ws->unclaimed > 0);
    ws->unclaimed = count;
}

/* Every function that a script calls gets the module by this one. */
static inline module_state *ws_module(lua_State *L)
{
    module_state *module = lua_touserdata(L, WS_UP_STATE);
    ws_check_fork(L, module);
    return module;
}

/* The websocket at this index, where there is one or nil. */
static inline lua_websocket *ws_known_at(lua_State *L, int index)
{
    ws_handle *handle = lua_touserdata(L, index);
    return handle ? handle->memory : NULL;
}

/* The websocket at this index; NULL if it is something else. luaL_checkudata, which compares metatables, would take a tenth
 * of a short send. */
static inline __attribute__((always_inline)) lua_websocket *ws_at(lua_State *L, int index)
{
    ws_handle *handle = lua_touserdata(L, index);
    bool is_ours = handle && lua_rawlen(L, index) == sizeof *handle && handle->tag == ws_module(L);
    return is_ours ? handle->memory : NULL;
}

static inline ws_slice ws_slice_at(lua_State *L, int index)
{
    ws_slice slice;
    slice.bytes = lua_tolstring(L, index, &slice.count);
    return slice;
}

#endif
