/* The option onattempt: calls the function for a question of the engine (WS_EVENT_ATTEMPT), and gives its answer back. Called
 * by deliver.c, on the thread that called poll or run. */
#include "deliver.h"
#include <string.h>

/* A question whose function runs or has yielded: a userdata at INDEX_QUESTION. Its user value is the websocket. Whenever it
 * goes before there is an answer, the attempt fails: it is a to-be-closed value, and before Lua 5.4 at least collected. */
typedef struct question {
    uint32_t number;
    bool is_over;
    ws_options *options; /* while the answer is read */
} question;

enum { VALUE_WEBSOCKET = 1 };

int ws_push_question(lua_State *L, const ws_event *event)
{
    ws_question asked;
    memcpy(&asked, ws_event_payload(event), sizeof asked);
    question *q = lua_newuserdatauv(L, sizeof *q, VALUE_WEBSOCKET);
    /* Not asked yet: nothing has to fail if one of these calls raises. */
    *q = (question){.number = asked.number, .is_over = true};
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_QUESTION_METATABLE);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, INDEX_WEBSOCKET);
    lua_setiuservalue(L, INDEX_QUESTION, VALUE_WEBSOCKET);
    lua_toclose(L, INDEX_QUESTION);
    lua_getiuservalue(L, INDEX_WEBSOCKET, WS_VALUE_ATTEMPT);
    lua_pushinteger(L, asked.attempt);
    lua_pushvalue(L, INDEX_WEBSOCKET);
    return 2;
}

void ws_begin_question(lua_State *L)
{
    question *q = lua_touserdata(L, INDEX_QUESTION);
    q->is_over = false;
}

/* __close and __gc. */
static int end_question(lua_State *L)
{
    question *q = lua_touserdata(L, 1);
    if (q->options) ws_options_free(q->options);
    q->options = NULL;
    if (q->is_over) return 0;
    q->is_over = true;
    /* The second argument of __close is the error; without one it is nil, and 5.5 gives none. */
    lua_settop(L, 2);
    if (lua_isnil(L, 2))
        lua_pushliteral(L, "it has ended without an answer");
    else if (lua_type(L, 2) == LUA_TSTRING)
        lua_pushvalue(L, 2);
    else
        lua_pushliteral(L, "it has raised an error");
    ws_slice reason = ws_slice_at(L, 3);
    lua_getiuservalue(L, 1, VALUE_WEBSOCKET);
    lua_websocket *ws = ws_known_at(L, -1);
    if (ws->engine_side) ws_websocket_fail_attempt(ws->engine_side, q->number, reason);
    return 0;
}

const luaL_Reg ws_question_metamethods[] = {{"__gc", end_question}, {"__close", end_question}, {NULL, NULL}};

/* For lua_pcall: the arguments are the question and the table that onattempt has returned. */
int ws_read_answer_function(lua_State *L)
{
    question *q = lua_touserdata(L, 1);
    ws_read_attempt(L, q->options);
    return 0;
}

/* The answer is a table. Returns false, with an error on top of the stack, if it is wrong. */
static bool answer_with_table(lua_State *L, question *q, lua_websocket *ws)
{
    q->options = ws_websocket_options(ws->engine_side);
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_READ_ANSWER);
    lua_pushvalue(L, INDEX_QUESTION);
    lua_pushvalue(L, -3);
    bool is_right = lua_pcall(L, 2, 0, 0) == LUA_OK;
    if (is_right) ws_websocket_answer(ws->engine_side, q->number, q->options);
    ws_options_free(q->options);
    q->options = NULL;
    return is_right;
}

/* Gives the answer on top of the stack to the engine. Returns false, with an error on top, if it is wrong. */
static bool answer(lua_State *L, question *q, lua_websocket *ws)
{
    int type = lua_type(L, -1);
    if (type == LUA_TTABLE) return answer_with_table(L, q, ws);
    if (type == LUA_TBOOLEAN && !lua_toboolean(L, -1)) {
        /* As close() does. */
        if (!ws_websocket_decline(ws->engine_side, q->number)) return true;
        ws->started = false;
        ws_report_inbox(ws);
        return true;
    }
    if (type == LUA_TNIL || type == LUA_TBOOLEAN) {
        ws_websocket_answer(ws->engine_side, q->number, NULL);
        return true;
    }
    lua_pushfstring(L, "WebSocket option 'onattempt' must return a table of options, false or nothing, not %s",
                    luaL_typename(L, -1));
    return false;
}

void ws_take_answer(lua_State *L)
{
    question *q = lua_touserdata(L, INDEX_QUESTION);
    lua_websocket *ws = ws_known_at(L, INDEX_WEBSOCKET);
    /* The script may have called the websocket's __gc. */
    if (ws->engine_side && !answer(L, q, ws)) {
        ws_slice reason = {"", 0};
        if (lua_type(L, -1) == LUA_TSTRING) reason = ws_slice_at(L, -1);
        ws_websocket_fail_attempt(ws->engine_side, q->number, reason);
        q->is_over = true;
        lua_error(L);
    }
    q->is_over = true;
    lua_settop(L, INDEX_HANDLER);
}
