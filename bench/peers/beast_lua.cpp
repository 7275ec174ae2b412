// Boost.Beast with a Lua callback: reads like beast.cpp and passes each message to Lua in a protected call,
// with the module's arguments.
//
//   require "beast_lua"(job, callback, begin)
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <string>
#if __has_include(<lua5.4/lua.hpp>)
#include <lua5.4/lua.hpp>
#else
#include <lua.hpp>
#endif

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;

static bool call(lua_State *L, int type, const beast::flat_buffer &buffer)
{
    lua_pushvalue(L, 2);
    lua_pushinteger(L, type);
    lua_pushlstring(L, static_cast<const char *>(buffer.data().data()), buffer.size());
    lua_pushvalue(L, 4);
    return lua_pcall(L, 3, 0, 0) == LUA_OK;
}

// Returns false on an error, which is then on the stack.
static bool receive(lua_State *L, unsigned short port, const std::string &path, lua_Integer count)
{
    asio::io_context context(1);
    websocket::stream<tcp::socket> ws(context);
    beast::flat_buffer buffer;
    beast::error_code error;
    ws.next_layer().connect({asio::ip::address_v4::loopback(), port}, error);
    if (!error) ws.next_layer().set_option(tcp::no_delay(true), error);
    if (!error) ws.handshake("localhost", path, error);
    lua_pushvalue(L, 3);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) return false;
    if (!error) ws.write(asio::buffer("go", 2), error);
    for (lua_Integer i = 0; i <= count && !error; i++) {
        ws.read(buffer, error);
        if (!error && !call(L, ws.got_binary() ? 16 : 0, buffer)) return false;
        buffer.consume(buffer.size());
    }
    if (error) lua_pushstring(L, error.message().c_str());
    ws.next_layer().close(error);
    return lua_gettop(L) == 4;
}

static int run(lua_State *L)
{
    lua_settop(L, 3);
    lua_pushliteral(L, "");
    lua_getfield(L, 1, "url");
    lua_getfield(L, 1, "count");
    lua_Integer count = luaL_checkinteger(L, -1);
    bool done;
    {
        std::string url = luaL_checkstring(L, -2);
        lua_settop(L, 4);
        size_t port = url.rfind(':'), path = url.find('/', port);
        done = receive(L, static_cast<unsigned short>(std::stoi(url.substr(port + 1))), url.substr(path), count);
    }
    return done ? 0 : lua_error(L);
}

extern "C" int luaopen_beast_lua(lua_State *L)
{
    lua_pushcfunction(L, run);
    return 1;
}
