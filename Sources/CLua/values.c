/* Turns a record of the engine into the values that the script's callback gets. Called by deliver.c on the thread that
 * called poll or run. */
#include "deliver.h"
#include <string.h>

static uint32_t read_length(const char *p)
{
    uint32_t length;
    memcpy(&length, p, sizeof length);
    return length;
}

/* Pushes a field's value; returns where it ends. */
static const char *push_field(lua_State *L, uint8_t tag, const char *p, const char *end);

/* Pushes a table of the fields from `p` up to their end or an END; returns where it stopped. */
static const char *push_fields(lua_State *L, const char *p, const char *end)
{
    luaL_checkstack(L, 4, NULL);
    lua_newtable(L);
    lua_Integer next = 1;
    while (p < end) {
        uint8_t tag = (uint8_t)*p++;
        if (tag == WS_INFO_END) break;
        size_t length = (uint8_t)*p++;
        if (length)
            lua_pushlstring(L, p, length);
        else
            lua_pushinteger(L, next++);
        p = push_field(L, tag, p + length, end);
        lua_rawset(L, -3);
    }
    return p;
}

static const char *push_field(lua_State *L, uint8_t tag, const char *p, const char *end)
{
    switch (tag) {
    case WS_INFO_STRING: {
        uint32_t length = read_length(p);
        lua_pushlstring(L, p + sizeof length, length);
        return p + sizeof length + length;
    }
    case WS_INFO_INTEGER: {
        int64_t value;
        memcpy(&value, p, sizeof value);
        lua_pushinteger(L, value);
        return p + sizeof value;
    }
    case WS_INFO_NUMBER: {
        double value;
        memcpy(&value, p, sizeof value);
        lua_pushnumber(L, value);
        return p + sizeof value;
    }
    case WS_INFO_BOOLEAN: lua_pushboolean(L, *p); return p + 1;
    default: return push_fields(L, p, end); /* WS_INFO_TABLE */
    }
}

/* The values of OPEN, CLOSE and ERROR: no data, the error's text, the info table. */
static int push_text_and_info(lua_State *L, const module_state *module, const ws_event *event)
{
    size_t size = event->length;
    uint64_t before = module->delivered;
    /* A copy, since the second push may free the record. */
    ws_push_bytes(L, ws_event_payload(event), size, &module->delivered);
    if (module->delivered != before) return 1;
    const char *payload = lua_tostring(L, -1);
    uint32_t length = read_length(payload);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    lua_pushlstring(L, payload + sizeof length, length);
    push_fields(L, payload + sizeof length + length, payload + size);
    lua_remove(L, -4);
    return 3;
}

/* The values of FRAGMENT: no data, no error, the bytes received so far as info. */
static int push_progress(lua_State *L, const ws_event *event)
{
    uint64_t received;
    memcpy(&received, ws_event_payload(event), sizeof received);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, (lua_Integer)received);
    lua_setfield(L, -2, "received");
    return 3;
}

int ws_push_values(lua_State *L, const module_state *module, ws_event *event)
{
    switch (event->type) {
    case WS_EVENT_OPEN:
    case WS_EVENT_CLOSE:
    case WS_EVENT_REQUEST:
    case WS_EVENT_ERROR: return push_text_and_info(L, module, event);
    case WS_EVENT_DEBUG:
        ws_push_bytes(L, ws_event_payload(event), event->length, &module->delivered);
        return 1;
    case WS_EVENT_FRAGMENT: return push_progress(L, event);
    default: return ws_push_message(L, module, event);
    }
}

/* Pushes the ERROR that the script gets for a message that Lua has no memory for. The message's type is on top of the
 * stack and is replaced. */
static int push_lost_message(lua_State *L, lua_websocket *ws, size_t length)
{
    lua_pop(L, 1);
    lua_pushinteger(L, WS_EVENT_ERROR);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    lua_pushliteral(L, "Lua has no memory for a message of ");
    lua_pushinteger(L, (lua_Integer)length);
    lua_pushliteral(L, " bytes, which is lost; the connection is closed (1009). A smaller maxmessagesize refuses such "
                       "messages before they take memory");
    lua_concat(L, 3);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "size");
    lua_setfield(L, -2, "kind");
    /* A finalizer may have released the websocket during the pushes. */
    if (ws->engine_side) ws_websocket_refuse(ws->engine_side, length, ws->opens_delivered);
    return 3;
}

/* For lua_pcall: the arguments are the record, the module, and "" at INDEX_EMPTY_STRING. */
int ws_push_values_function(lua_State *L) { return ws_push_values(L, lua_touserdata(L, 2), lua_touserdata(L, 1)); }

/* Without the second try, a message that Lua has no memory for would be tried in every poll, and no later event
 * delivered. */
int ws_push_values_protected(lua_State *L, ws_event *event, lua_websocket *ws, bool is_first_try)
{
    size_t length = event->length;
    bool is_message = event->type == WS_EVENT_TEXT || event->type == WS_EVENT_BINARY;
    uint64_t before = ws->module->delivered;
    int top = lua_gettop(L);
    lua_rawgeti(L, WS_UP_PRIVATE, WS_PRIVATE_PUSH_VALUES);
    lua_pushlightuserdata(L, event);
    lua_pushlightuserdata(L, ws->module);
    lua_pushvalue(L, INDEX_EMPTY_STRING);
    if (lua_pcall(L, 3, LUA_MULTRET, 0) == LUA_OK) return lua_gettop(L) - top;
    ws_show(ws->module);
    if (!is_message || is_first_try) lua_error(L);
    lua_settop(L, top);
    /* A finalizer has polled, and that poll has delivered this record. */
    if (ws->module->delivered != before) return 0;
    return push_lost_message(L, ws, length);
}
