/* Reads a table of options, on the script's thread, for the constructor (object.c). Here are each option's name and the
 * Lua types that it takes; its default and its limits are Swift's (Options.set). Every error names the option. */
#include "bridge.h"
#include <string.h>

/* The Lua types that an option takes, and how. */
enum {
    STRING = 1,
    NUMBER = 2,
    NUMBER_AS_STRING = 4,
    BOOLEAN = 8,
    FUNCTION = 16,
    LIST = 32, /* of strings */
    NOT_EMPTY = 64,
    HEADERS = 128,
    OPTIONS = 256, /* a table of options; with BOOLEAN it means true */
    TELLS = 512,   /* Swift is told that the table is there */
};

typedef struct form {
    int types;
    const char *words; /* "must be …" */
    const struct option *options;
} form;

typedef struct option {
    const char *name; /* NULL ends a table */
    const form *form;
    int value; /* user value that keeps the option for the script; 0: none does */
} option;

static const form string = {STRING, "a string", NULL};
static const form number = {NUMBER, "a number", NULL};
static const form boolean = {BOOLEAN, "a boolean", NULL};
static const form function = {FUNCTION, "a function, or an object that can be called", NULL};
static const form strings = {LIST, "a list of strings", NULL};
static const form headers = {HEADERS, "{name = value} or a list of {name, value}", NULL};
static const form origins = {STRING | LIST, "a string or a list of strings", NULL};
static const form attempts = {BOOLEAN | NUMBER, "a boolean or a number of attempts", NULL};
static const form proxy = {STRING | BOOLEAN, "a URL or false", NULL};
static const form version = {STRING | NUMBER_AS_STRING, "a string such as \"1.2\"", NULL};
/* Without a pin every key would be accepted. */
static const form pins = {STRING | LIST | NOT_EMPTY, "a string or a list of strings", NULL};

static const option tls_options[] = {
    {"ca", &string, 0},
    {"cert", &string, 0},
    {"key", &string, 0},
    {"password", &string, 0},
    {"verify", &boolean, 0},
    {"servername", &string, 0},
    {"minversion", &version, 0},
    {"ciphers", &string, 0},
    {"pin", &pins, 0},
    {NULL, NULL, 0},
};
static const form tls = {OPTIONS, "a table", tls_options};

static const option deflate_options[] = {
    {"level", &number, 0},
    {"threshold", &number, 0},
    {"clientwindow", &number, 0},
    {"serverwindow", &number, 0},
    {"clienttakeover", &boolean, 0},
    {"servertakeover", &boolean, 0},
    {NULL, NULL, 0},
};
static const form deflate = {BOOLEAN | OPTIONS, "a boolean or a table", deflate_options};

static const option websocket_options[] = {
    {"url", &string, WS_VALUE_URL},
    {"onreceive", &function, WS_VALUE_HANDLER},
    {"debug", &function, WS_VALUE_DEBUG},
    {"onattempt", &function, WS_VALUE_ATTEMPT},
    {"deflate", &deflate, 0},
    {"minreconnectwait", &number, 0},
    {"maxreconnectwait", &number, 0},
    {"reconnect", &attempts, 0},
    {"headers", &headers, 0},
    {"protocols", &strings, 0},
    {"connecttimeout", &number, 0},
    {"closetimeout", &number, 0},
    {"maxmessagesize", &number, 0},
    {"maxbuffered", &number, 0},
    {"maxqueued", &number, 0},
    {"pinginterval", &number, 0},
    {"pongtimeout", &number, 0},
    {"tls", &tls, 0},
    {"proxy", &proxy, 0},
    {"localaddress", &string, 0},
    {"maxredirects", &number, 0},
    {NULL, NULL, 0},
};

static const option server_tls_options[] = {
    {"ca", &string, 0},
    {"cert", &string, 0},
    {"key", &string, 0},
    {"password", &string, 0},
    {"minversion", &version, 0},
    {"ciphers", &string, 0},
    {NULL, NULL, 0},
};
static const form server_tls = {OPTIONS | TELLS, "a table", server_tls_options};

static const option server_options[] = {
    {"address", &string, 0},
    {"onreceive", &function, WS_SERVER_HANDLER},
    {"onrequest", &function, WS_SERVER_REQUEST},
    {"debug", &function, WS_SERVER_DEBUG},
    {"origins", &origins, 0},
    {"protocols", &strings, 0},
    {"deflate", &deflate, 0},
    {"tls", &server_tls, 0},
    {"maxconnections", &number, 0},
    {"connecttimeout", &number, 0},
    {"closetimeout", &number, 0},
    {"pinginterval", &number, 0},
    {"pongtimeout", &number, 0},
    {"maxmessagesize", &number, 0},
    {"maxbuffered", &number, 0},
    {"maxqueued", &number, 0},
    {"headers", &headers, 0},
    {"reuseport", &boolean, 0},
    {"backlog", &number, 0},
    {NULL, NULL, 0},
};

/* What onrequest may return, and request:answer takes. */
static const option answer_options[] = {
    {"protocol", &string, 0},
    {"headers", &headers, 0},
    {"status", &number, 0},
    {"body", &string, 0},
    {NULL, NULL, 0},
};

/* What onattempt may return. */
static const option attempt_options[] = {
    {"url", &string, 0},
    {"headers", &headers, 0},
    {"protocols", &strings, 0},
    {"proxy", &proxy, 0},
    {NULL, NULL, 0},
};

/* One reading of a table. */
typedef struct reader {
    lua_State *L;
    ws_options *target;
    const char *function; /* the one that the script has called */
} reader;

static void fail(const reader *r, const char *path, const char *words)
{
    luaL_error(r->L, "%s option '%s' %s", r->function, path, words);
}

/* The value on top of the stack has a wrong type. */
static void fail_type(const reader *r, const char *path, const char *words)
{
    lua_pushfstring(r->L, "must be %s, not %s", words, luaL_typename(r->L, -1));
    fail(r, path, lua_tostring(r->L, -1));
}

static void set(const reader *r, const char *path, ws_option_value value)
{
    ws_failure failure;
    if (!ws_options_set(r->target, path, value, &failure)) fail(r, path, failure.text);
}

static void set_boolean(const reader *r, const char *path, bool value)
{
    set(r, path, (ws_option_value){.type = WS_OPTION_BOOLEAN, .boolean = value});
}

/* Sets the string on top of the stack, or a number as a string: from a copy, so that the script's table keeps it as a
 * number. */
static void set_string(const reader *r, const char *path)
{
    lua_pushvalue(r->L, -1);
    set(r, path, (ws_option_value){.type = WS_OPTION_STRING, .string = ws_slice_at(r->L, -1)});
    lua_pop(r->L, 1);
}

bool ws_is_callable(lua_State *L, int index)
{
    if (lua_isfunction(L, index)) return true;
    if (!luaL_getmetafield(L, index, "__call")) return false;
    lua_pop(L, 1);
    return true;
}

/* The length of the list on top of the stack. A value under any other key would be ignored, so it is an error. */
static int list_length(const reader *r, const char *path)
{
    lua_State *L = r->L;
    int count = (int)lua_rawlen(L, -1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_Number index = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
        if (index < 1 || index > count || index != (int)index)
            fail(r, path, "has a key that is not of a list: none of 1, 2, 3 and so on");
    }
    return count;
}

/* Forgets the elements of an earlier list. */
static void begin_list(const reader *r, const char *path) { set(r, path, (ws_option_value){.type = WS_OPTION_LIST}); }

static void read_list(const reader *r, const char *path, const form *form)
{
    int count = list_length(r, path);
    begin_list(r, path);
    if (!count && form->types & NOT_EMPTY) fail(r, path, "must not be an empty list");
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(r->L, -1, i);
        if (lua_type(r->L, -1) != LUA_TSTRING) fail_type(r, path, strings.words);
        set_string(r, path);
        lua_pop(r->L, 1);
    }
}

/* The field's name is below its value on the stack; the value may be a list of values. */
static void add_header(const reader *r, const char *path)
{
    lua_State *L = r->L;
    if (lua_istable(L, -1) && lua_rawlen(L, -1)) {
        int count = list_length(r, path);
        for (int i = 1; i <= count; i++) {
            lua_pushvalue(L, -2);
            if (lua_rawgeti(L, -2, i) == LUA_TTABLE) fail(r, path, "has a list inside a list of values");
            add_header(r, path);
            lua_pop(L, 2);
        }
        return;
    }
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1)) fail(r, path, "must have strings for names and values");
    /* As in set_string. */
    lua_pushvalue(L, -1);
    ws_slice value = ws_slice_at(L, -1);
    ws_failure failure;
    if (!ws_options_header(r->target, ws_slice_at(L, -3), value, &failure)) fail(r, path, failure.text);
    lua_pop(L, 1);
}

static void read_headers(const reader *r, const char *path)
{
    lua_State *L = r->L;
    begin_list(r, path);
    if (!lua_rawlen(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) add_header(r, path);
        return;
    }
    int count = list_length(r, path);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        if (!lua_istable(L, -1)) fail_type(r, path, headers.words);
        if (list_length(r, path) != 2) fail(r, path, "has an element that is not {name, value}");
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        add_header(r, path);
        lua_pop(L, 3);
    }
}

static void read_table(const reader *r, const char *parent, const option *known);

/* Reads the value on top of the stack. */
static void read_value(const reader *r, const char *path, const form *form)
{
    lua_State *L = r->L;
    int types = form->types;
    int type = lua_type(L, -1);
    if (type == LUA_TSTRING && types & STRING) {
        set_string(r, path);
    } else if (type == LUA_TNUMBER && types & NUMBER) {
        set(r, path, (ws_option_value){.type = WS_OPTION_NUMBER, .number = lua_tonumber(L, -1)});
    } else if (type == LUA_TNUMBER && types & NUMBER_AS_STRING) {
        set_string(r, path);
    } else if (type == LUA_TBOOLEAN && types & BOOLEAN) {
        set_boolean(r, path, lua_toboolean(L, -1));
    } else if (types & FUNCTION && ws_is_callable(L, -1)) {
        set_boolean(r, path, true);
    } else if (type == LUA_TTABLE && types & LIST) {
        read_list(r, path, form);
    } else if (type == LUA_TTABLE && types & HEADERS) {
        read_headers(r, path);
    } else if (type == LUA_TTABLE && types & OPTIONS) {
        if (types & (BOOLEAN | TELLS)) set_boolean(r, path, true);
        read_table(r, path, form->options);
    } else {
        fail_type(r, path, form->words);
    }
}

/* A key of the table `parent` is no string: it is below its value. */
static void fail_name(const reader *r, const char *parent)
{
    if (*parent) fail(r, parent, lua_pushfstring(r->L, "must have names for keys, not a %s", luaL_typename(r->L, -2)));
    luaL_error(r->L, "%s options have names, as in %s{url = …}; found a %s for a name", r->function, r->function,
               luaL_typename(r->L, -2));
}

/* Reads the table on top of the stack: its options are `known`, and its own name is `parent`, or "". */
static void read_table(const reader *r, const char *parent, const option *known)
{
    lua_State *L = r->L;
    luaL_checkstack(L, 16, NULL);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 2)) {
        if (lua_type(L, -2) != LUA_TSTRING) fail_name(r, parent);
        size_t length;
        const char *name = lua_tolstring(L, -2, &length);
        bool has_zero_byte = strlen(name) != length;
        const char *path = lua_pushfstring(L, "%s%s%s", parent, *parent ? "." : "", name);
        lua_insert(L, -2);
        const option *option = known;
        while (option->name && strcmp(option->name, name)) option++;
        if (!option->name || has_zero_byte) fail(r, path, "is unknown");
        read_value(r, path, option->form);
        if (!option->value) continue;
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 2, option->value);
    }
}

static void read_at(lua_State *L, int index, ws_options *target, const char *function, const option *known)
{
    reader r = {L, target, function};
    lua_pushvalue(L, index);
    read_table(&r, "", known);
    lua_pop(L, 1);
}

void ws_read_options(lua_State *L, ws_options *target) { read_at(L, 1, target, "WebSocket", websocket_options); }

void ws_read_server_options(lua_State *L, ws_options *target)
{
    read_at(L, 1, target, "WebSocket server", server_options);
}

void ws_read_attempt(lua_State *L, ws_options *target) { read_at(L, -1, target, "WebSocket onattempt", attempt_options); }

void ws_read_answer(lua_State *L, int index, ws_options *target)
{
    read_at(L, index, target, "WebSocket onrequest", answer_options);
}
