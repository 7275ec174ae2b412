// Boost.Beast's server, as its example advanced_server: asynchronous, one thread, with Beast's suggested timeouts and
// pings. A broadcast is queued at each session as a shared string, as in its example chat_multi.
//     beast_server MODE
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <unordered_set>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;

static bool broadcasts;

class session;
static std::unordered_set<session *> all;

class session : public std::enable_shared_from_this<session>
{
    websocket::stream<beast::tcp_stream> ws;
    beast::flat_buffer buffer;
    std::deque<std::shared_ptr<const std::string>> queue;

  public:
    explicit session(tcp::socket &&socket) : ws(std::move(socket)) {}
    ~session() { all.erase(this); }

    void begin()
    {
        ws.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
        beast::get_lowest_layer(ws).socket().set_option(tcp::no_delay(true));
        ws.async_accept([self = shared_from_this()](beast::error_code error) {
            if (error) return;
            all.insert(self.get());
            self->read();
        });
    }

    void read()
    {
        ws.async_read(buffer, [self = shared_from_this()](beast::error_code error, size_t) {
            if (error) return;
            if (broadcasts) self->broadcast();
            else self->echo();
        });
    }

    void echo()
    {
        ws.text(ws.got_text());
        ws.async_write(buffer.data(), [self = shared_from_this()](beast::error_code error, size_t) {
            if (error) return;
            self->buffer.consume(self->buffer.size());
            self->read();
        });
    }

    void broadcast()
    {
        auto message = std::make_shared<const std::string>(beast::buffers_to_string(buffer.data()));
        buffer.consume(buffer.size());
        for (session *other : all) other->send(message);
        read();
    }

    void send(const std::shared_ptr<const std::string> &message)
    {
        queue.push_back(message);
        if (queue.size() == 1) write();
    }

    void write()
    {
        ws.async_write(asio::buffer(*queue.front()), [self = shared_from_this()](beast::error_code error, size_t) {
            if (error) return;
            self->queue.pop_front();
            if (!self->queue.empty()) self->write();
        });
    }
};

static void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](beast::error_code error, tcp::socket socket) {
        if (!error) std::make_shared<session>(std::move(socket))->begin();
        accept(acceptor);
    });
}

int main(int argc, char **argv)
{
    if (argc != 2) return 1;
    broadcasts = !strcmp(argv[1], "broadcast");
    asio::io_context context(1);
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    printf("%d\n", acceptor.local_endpoint().port());
    fflush(stdout);
    accept(acceptor);
    context.run();
}
