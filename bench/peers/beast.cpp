// Boost.Beast's client: blocking calls for one connection, asynchronous ones for many.
// One buffer for all messages, no copies, frames as large as the messages, and a write buffer that is large
// enough for few writes.
#include "../client.h"
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <memory>
#include <vector>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using plain_stream = websocket::stream<tcp::socket>;
using secure_stream = websocket::stream<asio::ssl::stream<tcp::socket>>;

static tcp::endpoint server(const job &j)
{
    return {asio::ip::address_v4::loopback(), static_cast<unsigned short>(j.port)};
}

template <class Stream> static void set_up(Stream &ws, const job &j)
{
    ws.auto_fragment(false);
    ws.write_buffer_bytes(128 << 10);
    ws.binary(j.binary);
    if (j.deflates) {
        websocket::permessage_deflate deflate;
        deflate.client_enable = true;
        deflate.compLevel = 6; // zlib's default, as in all clients
        deflate.memLevel = 8;
        ws.set_option(deflate);
    }
}

static void connect(plain_stream &ws, const job &j)
{
    ws.next_layer().connect(server(j));
    ws.next_layer().set_option(tcp::no_delay(true));
    set_up(ws, j);
    ws.handshake("localhost", j.path);
}

static void connect(secure_stream &ws, const job &j)
{
    ws.next_layer().next_layer().connect(server(j));
    ws.next_layer().next_layer().set_option(tcp::no_delay(true));
    ws.next_layer().handshake(asio::ssl::stream_base::client);
    set_up(ws, j);
    ws.handshake("localhost", j.path);
}

static const char *bytes(const beast::flat_buffer &buffer) { return static_cast<const char *>(buffer.data().data()); }

template <class Stream> static void receive(Stream &ws, const job &j)
{
    beast::flat_buffer buffer;
    connect(ws, j);
    tally t = tally_start(j.count);
    ws.write(asio::buffer("go", 2));
    for (bool over = false; !over;) {
        ws.read(buffer);
        over = tally_take(&t, bytes(buffer), buffer.size());
        buffer.consume(buffer.size());
    }
    report_tally(&t, j.size);
}

template <class Stream> static void send(Stream &ws, const job &j)
{
    beast::flat_buffer buffer;
    connect(ws, j);
    meter m = meter_start();
    for (uint64_t i = 0; i < j.count; i++) ws.write(asio::buffer(payload_at(&j, i), j.size));
    ws.read(buffer);
    meter_stop(&m);
    report(j.count, j.count * j.size, &m, is_done(bytes(buffer), buffer.size(), j.count));
}

template <class Stream> static void roundtrip(Stream &ws, const job &j)
{
    beast::flat_buffer buffer;
    connect(ws, j);
    std::vector<double> times(j.count);
    bool ok = true;
    meter m = meter_start();
    for (uint64_t i = 0; i < j.count; i++) {
        double start = now();
        ws.write(asio::buffer(payload_at(&j, i), j.size));
        ws.read(buffer);
        times[i] = now() - start;
        if (buffer.size() != j.size || memcmp(bytes(buffer), payload_at(&j, i), j.size)) ok = false;
        buffer.consume(buffer.size());
    }
    meter_stop(&m);
    report_roundtrips(times.data(), j.count, &m, ok);
}

// MARK: Many connections

// Opens the connections, a few at a time, then calls `ready`.
struct many {
    const job &j;
    asio::io_context &context;
    std::vector<std::unique_ptr<plain_stream>> all;
    uint64_t begun = 0, opened = 0;

    many(const job &j, asio::io_context &context, uint64_t count) : j(j), context(context), all(count) {}

    template <class Ready> void begin(Ready ready)
    {
        while (begun < all.size() && begun - opened < OPENING_AT_ONCE) {
            auto &ws = all[begun++];
            ws = std::make_unique<plain_stream>(context);
            ws->next_layer().async_connect(server(j), [this, ready, &ws](beast::error_code error) {
                if (error) fail("can't connect");
                ws->next_layer().set_option(tcp::no_delay(true));
                set_up(*ws, j);
                ws->async_handshake("localhost", j.path, [this, ready](beast::error_code error) {
                    if (error) fail("refused");
                    if (++opened == all.size()) ready();
                    else begin(ready);
                });
            });
        }
    }
};

static void idle(asio::io_context &context, const job &j)
{
    long empty = resident_bytes();
    many connections(j, context, j.count);
    meter m = meter_start();
    connections.begin([&] { meter_stop(&m); });
    context.run();
    report_idle(connections.opened, &m, empty);
}

struct ticker {
    plain_stream &ws;
    tally received;
    beast::flat_buffer buffer;
    uint64_t &left;

    ticker(plain_stream &ws, uint64_t count, uint64_t &left) : ws(ws), received(tally_start(count)), left(left) {}

    void begin()
    {
        ws.async_write(asio::buffer("go", 2), [this](beast::error_code error, size_t) {
            if (error) fail("the connection has ended");
            read();
        });
    }

    void read()
    {
        ws.async_read(buffer, [this](beast::error_code error, size_t) {
            if (error) fail("the connection has ended");
            bool over = tally_take(&received, bytes(buffer), buffer.size());
            buffer.consume(buffer.size());
            if (!over) read();
            else left--;
        });
    }
};

static void tick(asio::io_context &context, const job &j)
{
    many connections(j, context, TICKING);
    std::vector<std::unique_ptr<ticker>> tickers;
    uint64_t left = TICKING, messages = 0;
    meter m;
    connections.begin([&] {
        m = meter_start();
        for (auto &ws : connections.all) {
            tickers.push_back(std::make_unique<ticker>(*ws, j.count, left));
            tickers.back()->begin();
        }
    });
    while (left) context.run_one();
    meter_stop(&m);
    bool ok = true;
    for (auto &t : tickers) {
        messages += t->received.count;
        ok = ok && t->received.complete && t->received.ordered && t->received.whole;
    }
    report(messages, messages * j.size, &m, ok);
}

int main(int argc, char **argv)
{
    job j = read_job(argc, argv);
    asio::io_context context(1);
    asio::ssl::context tls(asio::ssl::context::tls_client);
    auto run = [&](auto &ws) {
        if (is_mode(&j, "receive")) receive(ws, j);
        else if (is_mode(&j, "send")) send(ws, j);
        else if (is_mode(&j, "roundtrip")) roundtrip(ws, j);
        else fail("not done by this client");
    };
    if (is_mode(&j, "idle")) {
        idle(context, j);
    } else if (is_mode(&j, "tick")) {
        tick(context, j);
    } else if (j.secure) {
        secure_stream ws(context, tls);
        run(ws);
    } else {
        plain_stream ws(context);
        run(ws);
    }
    fflush(stdout);
    _exit(0); // without closing handshakes
}
