/* The constructor's table, option by option: each checked where it is read, each error with its name. */
#include "bridge.h"
#include <string.h>

enum kind { STRING, NUMBER, BOOLEAN, RECONNECT, DEFLATE, LIST, HEADERS, HANDLER, VERSION, PINS, PROXY, TLS };

typedef struct option {
    const char *name;
    enum kind kind;
    enum ws_option option;
} option;

static const option options[] = {
    {"url", STRING, WS_OPTION_URL},
    {"onreceive", HANDLER, 0},
    {"debug", HANDLER, WS_OPTION_DEBUG},
    {"deflate", DEFLATE, WS_OPTION_DEFLATE},
    {"minreconnectwait", NUMBER, WS_OPTION_MINRECONNECTWAIT},
    {"maxreconnectwait", NUMBER, WS_OPTION_MAXRECONNECTWAIT},
    {"reconnect", RECONNECT, WS_OPTION_RECONNECT},
    {"headers", HEADERS, 0},
    {"protocols", LIST, WS_OPTION_PROTOCOLS},
    {"connecttimeout", NUMBER, WS_OPTION_CONNECTTIMEOUT},
    {"closetimeout", NUMBER, WS_OPTION_CLOSETIMEOUT},
    {"maxmessagesize", NUMBER, WS_OPTION_MAXMESSAGESIZE},
    {"maxbuffered", NUMBER, WS_OPTION_MAXBUFFERED},
    {"maxqueued", NUMBER, WS_OPTION_MAXQUEUED},
    {"pinginterval", NUMBER, WS_OPTION_PINGINTERVAL},
    {"pongtimeout", NUMBER, WS_OPTION_PONGTIMEOUT},
    {"tls", TLS, 0},
    {"proxy", PROXY, WS_OPTION_PROXY},
    {"maxredirects", NUMBER, WS_OPTION_MAXREDIRECTS},
    {NULL, 0, 0},
};

static const option tls_options[] = {
    {"ca", STRING, WS_OPTION_TLS_CA},
    {"cert", STRING, WS_OPTION_TLS_CERT},
    {"key", STRING, WS_OPTION_TLS_KEY},
    {"password", STRING, WS_OPTION_TLS_PASSWORD},
    {"verify", BOOLEAN, WS_OPTION_TLS_VERIFY},
    {"servername", STRING, WS_OPTION_TLS_SERVERNAME},
    {"minversion", VERSION, WS_OPTION_TLS_MINVERSION},
    {"ciphers", STRING, WS_OPTION_TLS_CIPHERS},
    {"pin", PINS, WS_OPTION_TLS_PIN},
    {NULL, 0, 0},
};

static const option deflate_options[] = {
    {"level", NUMBER, WS_OPTION_DEFLATE_LEVEL},
    {"threshold", NUMBER, WS_OPTION_DEFLATE_THRESHOLD},
    {"clientwindow", NUMBER, WS_OPTION_DEFLATE_CLIENT_WINDOW},
    {"serverwindow", NUMBER, WS_OPTION_DEFLATE_SERVER_WINDOW},
    {"clienttakeover", BOOLEAN, WS_OPTION_DEFLATE_CLIENT_TAKEOVER},
    {"servertakeover", BOOLEAN, WS_OPTION_DEFLATE_SERVER_TAKEOVER},
    {NULL, 0, 0},
};

/* Where an error is: "option 'deflate.level'". */
typedef struct place {
    const char *table; /* NULL on the outermost level */
    const char *name;
} place;

static void wrong(lua_State *L, place at, const char *what)
{
    luaL_error(L, "WebSocket option '%s%s%s' %s", at.table ? at.table : "", at.table ? "." : "", at.name, what);
}

/* Whether the value on top of the stack has the type; else says what it should be. */
static void expect(lua_State *L, place at, int type, const char *what)
{
    if (lua_type(L, -1) == type) return;
    lua_pushfstring(L, "must be %s, not %s", what, luaL_typename(L, -1));
    wrong(L, at, lua_tostring(L, -1));
}

static void set_string(lua_State *L, lua_websocket *ws, place at, enum ws_option option)
{
    ws_failure failure;
    if (!ws_options_string(ws->options, option, ws_slice_at(L, -1), &failure)) wrong(L, at, failure.text);
}

static void set_number(lua_State *L, lua_websocket *ws, place at, enum ws_option option, double value)
{
    ws_failure failure;
    if (!ws_options_number(ws->options, option, value, &failure)) wrong(L, at, failure.text);
}

static void read_table(lua_State *L, lua_websocket *ws, const option *known, const char *name);

static bool is_callable(lua_State *L)
{
    if (lua_isfunction(L, -1)) return true;
    if (!luaL_getmetafield(L, -1, "__call")) return false;
    lua_pop(L, 1);
    return true;
}

/* How many elements the list on top of the stack has. What stands under another key would have no effect. */
static int list_length(lua_State *L, place at)
{
    int count = (int)lua_rawlen(L, -1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_Integer index = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (index < 1 || index > count) wrong(L, at, "has a key that is not of a list: none of 1, 2, 3 and so on");
    }
    return count;
}

static int read_list(lua_State *L, lua_websocket *ws, place at, enum ws_option option)
{
    expect(L, at, LUA_TTABLE, "a list of strings");
    int count = list_length(L, at);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        expect(L, at, LUA_TSTRING, "a list of strings");
        set_string(L, ws, at, option);
        lua_pop(L, 1);
    }
    return count;
}

/* The name is below the value on the stack, which may be a list of values. */
static void add_header(lua_State *L, lua_websocket *ws, place at)
{
    if (lua_istable(L, -1) && lua_rawlen(L, -1)) {
        int count = list_length(L, at);
        for (int i = 1; i <= count; i++) {
            lua_pushvalue(L, -2);
            if (lua_rawgeti(L, -2, i) == LUA_TTABLE) wrong(L, at, "has a list inside a list of values");
            add_header(L, ws, at);
            lua_pop(L, 2);
        }
        return;
    }
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1)) wrong(L, at, "must have strings for names and values");
    /* A number is converted in a copy: the table's own value stays as it is. */
    lua_pushvalue(L, -1);
    ws_slice value = ws_slice_at(L, -1);
    ws_failure failure;
    if (!ws_options_header(ws->options, ws_slice_at(L, -3), value, &failure)) wrong(L, at, failure.text);
    lua_pop(L, 1);
}

static void read_headers(lua_State *L, lua_websocket *ws, place at)
{
    static const char *const forms = "{name = value} or a list of {name, value}";
    expect(L, at, LUA_TTABLE, forms);
    if (!lua_rawlen(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) add_header(L, ws, at);
        return;
    }
    int count = list_length(L, at);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        expect(L, at, LUA_TTABLE, forms);
        if (list_length(L, at) != 2) wrong(L, at, "has an element that is not {name, value}");
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        add_header(L, ws, at);
        lua_pop(L, 3);
    }
}

static void read_value(lua_State *L, lua_websocket *ws, const option *option, place at)
{
    switch (option->kind) {
    case STRING:
        expect(L, at, LUA_TSTRING, "a string");
        set_string(L, ws, at, option->option);
        break;
    case NUMBER:
        expect(L, at, LUA_TNUMBER, "a number");
        set_number(L, ws, at, option->option, lua_tonumber(L, -1));
        break;
    case BOOLEAN:
        expect(L, at, LUA_TBOOLEAN, "a boolean");
        set_number(L, ws, at, option->option, lua_toboolean(L, -1));
        break;
    case RECONNECT:
        /* true: for ever; false: never; a number: so often. */
        if (lua_isboolean(L, -1)) {
            set_number(L, ws, at, option->option, lua_toboolean(L, -1) ? -1 : 0);
        } else {
            expect(L, at, LUA_TNUMBER, "a boolean or a number of attempts");
            if (lua_tonumber(L, -1) < 0) wrong(L, at, "must not be negative");
            set_number(L, ws, at, option->option, lua_tonumber(L, -1));
        }
        break;
    case DEFLATE:
        if (lua_istable(L, -1)) {
            set_number(L, ws, at, option->option, 1);
            read_table(L, ws, deflate_options, option->name);
        } else {
            expect(L, at, LUA_TBOOLEAN, "a boolean or a table");
            set_number(L, ws, at, option->option, lua_toboolean(L, -1));
        }
        break;
    case LIST: read_list(L, ws, at, option->option); break;
    case HEADERS: read_headers(L, ws, at); break;
    case HANDLER:
        if (!is_callable(L)) wrong(L, at, "must be a function, or an object that can be called");
        if (option->option == WS_OPTION_DEBUG) set_number(L, ws, at, option->option, 1);
        break;
    case VERSION:
        if (lua_type(L, -1) != LUA_TNUMBER) expect(L, at, LUA_TSTRING, "a string such as \"1.2\"");
        /* A number is converted in a copy: the table's own value stays as it is. */
        lua_pushvalue(L, -1);
        set_string(L, ws, at, option->option);
        lua_pop(L, 1);
        break;
    case PINS:
        if (lua_istable(L, -1)) {
            /* Without a pin every key would do. */
            if (!read_list(L, ws, at, option->option)) wrong(L, at, "must not be an empty list");
        } else {
            expect(L, at, LUA_TSTRING, "a string or a list of strings");
            set_string(L, ws, at, option->option);
        }
        break;
    case PROXY:
        if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) {
            set_number(L, ws, at, option->option, 0);
        } else {
            expect(L, at, LUA_TSTRING, "a URL or false");
            set_string(L, ws, at, option->option);
        }
        break;
    case TLS:
        expect(L, at, LUA_TTABLE, "a table");
        read_table(L, ws, tls_options, option->name);
        break;
    }
}

/* Reads the table on top of the stack. */
static void read_table(lua_State *L, lua_websocket *ws, const option *known, const char *table)
{
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "WebSocket options have names, as in WebSocket{url = …}; found a %s for a name",
                       luaL_typename(L, -2));
        place at = {table, lua_tostring(L, -2)};
        const option *option = known;
        while (option->name && strcmp(option->name, at.name)) option++;
        if (!option->name) wrong(L, at, "is unknown");
        luaL_checkstack(L, 16, NULL);
        read_value(L, ws, option, at);
    }
}

void ws_read_options(lua_State *L, lua_websocket *ws)
{
    lua_pushvalue(L, 1);
    read_table(L, ws, options, NULL);
    lua_pop(L, 1);
    /* As they were read: without the table's metatable. */
    lua_pushliteral(L, "onreceive");
    lua_rawget(L, 1);
    lua_setiuservalue(L, -2, WS_VALUE_HANDLER);
    lua_pushliteral(L, "debug");
    lua_rawget(L, 1);
    lua_setiuservalue(L, -2, WS_VALUE_DEBUG);
    lua_pushliteral(L, "url");
    lua_rawget(L, 1);
    lua_setiuservalue(L, -2, WS_VALUE_URL);
}
