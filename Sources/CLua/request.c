/* The option onrequest: calls the function for a request (WS_EVENT_REQUEST), and gives its answer back, at once or later. Called by
 * deliver.c, on the thread that called poll or run. */
#include "deliver.h"

/* A request that has no answer yet. Scripts see the table of its fields; this userdata is found by it in the private table. When the
 * script has dropped the table, or has raised an error, there will be no answer. */
typedef struct owner {
    ws_request *request; /* NULL once it is answered */
    ws_options *answer;  /* while it is read */
    uint32_t id;         /* of the websocket that may come of it */
} owner;

/* Stack positions while onrequest is called. */
enum { INDEX_OWNER = INDEX_QUESTION, INDEX_REQUEST, INDEX_ANSWER };

static void release(owner *o)
{
    if (o->request) ws_request_free(o->request);
    o->request = NULL;
}

/* There is no answer: the client is told so. */
static void fail_request(owner *o)
{
    if (o->answer) ws_options_free(o->answer);
    o->answer = NULL;
    if (o->request) ws_request_fail(o->request);
    release(o);
}

/* __close and __gc. */
static int end_request(lua_State *L)
{
    fail_request(lua_touserdata(L, 1));
    return 0;
}

/* Only an error closes it: an answer may come later. Without an error, 5.5 gives no second argument. */
static int close_request(lua_State *L) { return lua_isnoneornil(L, 2) ? 0 : end_request(L); }

const luaL_Reg ws_request_owner_metamethods[] = {{"__gc", end_request}, {"__close", close_request}, {NULL, NULL}};

/* Keeps the request, which is on top of the stack, for the OPEN that follows; nil: keeps none. May raise with a request, and
 * then nothing was answered. */
static void keep_for_open(lua_State *L, uint32_t id)
{
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_REQUESTS);
    lua_insert(L, -2);
    lua_rawseti(L, -2, id);
    lua_pop(L, 1);
}

static int fail_answer(lua_State *L, const char *reason)
{
    return luaL_error(L, "WebSocket onrequest: the answer can't be sent: %s", reason);
}

/* Gives the answer at the index `answer` to the engine. Raises if it is wrong, and then the request still has no answer. */
static void answer_request(lua_State *L, owner *o, int request, int answer)
{
    enum ws_decision decision = WS_REQUEST_PROCEED;
    ws_failure failure;
    int type = lua_type(L, answer);
    if (type == LUA_TBOOLEAN && !lua_toboolean(L, answer)) {
        decision = WS_REQUEST_FORBID;
    } else if (type == LUA_TTABLE) {
        decision = WS_REQUEST_ANSWER;
        if (o->answer) ws_options_free(o->answer);
        o->answer = ws_options_new_answer();
        ws_read_answer(L, answer, o->answer);
    } else if (type != LUA_TNIL && type != LUA_TBOOLEAN && type != LUA_TNONE) {
        luaL_error(L, "WebSocket onrequest must return a table, a boolean, the request or nothing, not %s", luaL_typename(L, answer));
    }
    if (decision != WS_REQUEST_FORBID) {
        lua_pushvalue(L, request);
        keep_for_open(L, o->id);
    }
    /* A finalizer may have answered meanwhile. */
    bool is_sent = !o->request || ws_request_answer(o->request, decision, o->answer, &failure);
    if (o->answer) ws_options_free(o->answer);
    o->answer = NULL;
    if (!is_sent) {
        /* The script may drop the request now. */
        lua_pushnil(L);
        keep_for_open(L, o->id);
        fail_answer(L, failure.text);
    }
    release(o);
}

/* request:answer([decision]) -> whether the client was still to be answered */
static int answer(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    ws_module(L);
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_WAITING_REQUESTS);
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    owner *o = lua_touserdata(L, -1);
    bool is_waiting = o && o->request && !ws_request_is_over(o->request);
    if (is_waiting) answer_request(L, o, 1, 2);
    lua_pushboolean(L, is_waiting);
    return 1;
}

const luaL_Reg ws_request_methods[] = {{"answer", answer}, {NULL, NULL}};

int ws_ask_request(
    lua_State *L, module_state *module, ws_event *event, lua_Integer count, lua_KFunction continuation)
{
    uint64_t before = module->delivered;
    uint32_t id = event->socket;
    lua_settop(L, INDEX_HANDLER);
    owner *o = lua_newuserdatauv(L, sizeof *o, 0);
    *o = (owner){.id = id};
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_REQUEST_OWNER_METATABLE);
    lua_setmetatable(L, -2);
    /* That may have run a finalizer, which has polled. */
    if (module->delivered == before && ws_push_values(L, module, event) == 3) {
        lua_replace(L, INDEX_REQUEST);
        lua_settop(L, INDEX_REQUEST);
        lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_REQUEST_METATABLE);
        lua_setmetatable(L, INDEX_REQUEST);
        lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_WAITING_REQUESTS);
        lua_pushvalue(L, INDEX_REQUEST);
        lua_pushvalue(L, INDEX_OWNER);
        lua_rawset(L, -3);
        lua_settop(L, INDEX_REQUEST);
        lua_toclose(L, INDEX_OWNER);
        lua_getiuservalue(L, INDEX_WEBSOCKET, WS_SERVER_REQUEST);
        lua_pushvalue(L, INDEX_REQUEST);
    }
    /* A finalizer has polled, and that poll has delivered the record. */
    if (module->delivered != before || !ws_keep_call_reserved(L, module)) {
        lua_settop(L, INDEX_HANDLER);
        return 0;
    }
    o->request = ws_state_take_request(module->state, id);
    ws_skip_record(L, module, event);
    ws_show(module);
    lua_callk(L, 1, 1, (lua_KContext)(count + 1), continuation);
    ws_take_request_answer(L);
    return 1;
}

bool ws_is_request(lua_State *L) { return lua_rawlen(L, INDEX_QUESTION) == sizeof(owner); }

int ws_answer_request_function(lua_State *L)
{
    answer_request(L, lua_touserdata(L, 1), 2, 3);
    return 0;
}

/* If the answer is wrong, or Lua has no memory to read it, the request fails at once: before 5.4 nothing closes it. */
void ws_take_request_answer(lua_State *L)
{
    owner *o = lua_touserdata(L, INDEX_OWNER);
    bool is_later = lua_rawequal(L, INDEX_ANSWER, INDEX_REQUEST);
    if (o->request && !is_later && !ws_request_is_over(o->request)) {
        lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_ANSWER_REQUEST);
        for (int i = INDEX_OWNER; i <= INDEX_ANSWER; i++) lua_pushvalue(L, i);
        if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
            fail_request(o);
            lua_error(L);
        }
    }
    lua_settop(L, INDEX_HANDLER);
}
