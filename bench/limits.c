/* The limits: the same bytes and the same server without a WebSocket implementation. Raw
 * TCP writes frames made in advance and counts bytes; JSON uses only zlib, wss only OpenSSL. */
#define _GNU_SOURCE
#include "client.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <zlib.h>

enum { BUFFER = 256 << 10, LARGE_BUFFER = 512 << 10, HEADER = 14 };

typedef struct stream {
    int fd;
    SSL *ssl;
} stream;

static size_t read_some(stream s, void *buffer, size_t size)
{
    ssize_t n = s.ssl ? SSL_read(s.ssl, buffer, (int)size) : recv(s.fd, buffer, size, 0);
    if (n <= 0) fail("the connection has ended");
    return (size_t)n;
}

/* Waits with poll before each read: a blocking read returns with the first bytes, which causes more reads. */
static size_t read_ready(stream s, void *buffer, size_t size)
{
    struct pollfd wanted = {s.fd, POLLIN, 0};
    poll(&wanted, 1, -1);
    return read_some(s, buffer, size);
}

static void write_all(stream s, const void *buffer, size_t size)
{
    for (const char *b = buffer; size;) {
        ssize_t n = s.ssl ? SSL_write(s.ssl, b, (int)size) : send(s.fd, b, size, MSG_NOSIGNAL);
        if (n <= 0) fail("the connection has ended");
        b += n;
        size -= (size_t)n;
    }
    if (s.ssl && BIO_flush(SSL_get_wbio(s.ssl)) != 1) fail("the connection has ended");
}

static int connect_to(int port, int flags)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS))
        fail("can't connect");
    return fd;
}

static size_t put_request(char *o, size_t room, const job *j)
{
    return (size_t)snprintf(o, room,
                            "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                            j->path, j->deflates ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
}

/* Connects and does the WebSocket handshake. */
static stream open_stream(const job *j)
{
    stream s = {connect_to(j->port, 0), NULL};
    if (j->secure) {
        s.ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
        SSL_set_fd(s.ssl, s.fd);
        /* Writes many TLS records with one call. */
        BIO *buffer = BIO_new(BIO_f_buffer());
        BIO_set_write_buffer_size(buffer, BUFFER);
        SSL_set0_wbio(s.ssl, BIO_push(buffer, BIO_new_socket(s.fd, BIO_NOCLOSE)));
        if (SSL_connect(s.ssl) != 1) fail("no TLS");
    }
    char text[1024];
    write_all(s, text, put_request(text, sizeof text, j));
    size_t n = 0;
    do {
        n += read_some(s, text + n, 1); /* one byte at a time, so that no byte behind the head is read */
        text[n] = 0;
    } while (n < sizeof text - 1 && !strstr(text, "\r\n\r\n"));
    if (strncmp(text, "HTTP/1.1 101", 12)) fail("refused");
    return s;
}

/* MARK: Frames */

static size_t put_header(uint8_t *o, uint8_t first, size_t size, const uint8_t *mask)
{
    int width = size < 126 ? 0 : size < 65536 ? 2 : 8;
    *o++ = first;
    *o++ = 0x80 | (uint8_t)(width == 0 ? size : width == 2 ? 126 : 127);
    for (int i = width - 1; i >= 0; i--) *o++ = (uint8_t)(size >> (8 * i));
    memcpy(o, mask, 4);
    return 6 + (size_t)width;
}

/* Encodes the payloads as masked frames. Returns the bytes of one frame. */
static size_t make_frames(const job *j, char **frames)
{
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t *o = malloc(j->payload_count * (j->size + HEADER));
    if (!o) abort();
    *frames = (char *)o;
    for (size_t i = 0; i < j->payload_count; i++) {
        o += put_header(o, j->binary ? 0x82 : 0x81, j->size, mask);
        const char *payload = payload_at(j, i);
        for (size_t k = 0; k < j->size; k++) *o++ = (uint8_t)payload[k] ^ mask[k & 3];
    }
    return (size_t)(o - (uint8_t *)*frames) / j->payload_count;
}

static size_t unmasked_header(size_t size) { return size < 126 ? 2 : size < 65536 ? 4 : 10; }

static void say_go(stream s)
{
    uint8_t frame[] = {0x81, 0x82, 0, 0, 0, 0, 'g', 'o'};
    write_all(s, frame, sizeof frame);
}

/* Reads one short message from the server. */
static size_t read_text(stream s, char *text)
{
    uint8_t header[2];
    for (size_t n = 0; n < 2;) n += read_some(s, header + n, 2 - n);
    size_t size = header[1];
    if (size > 125) fail("a longer message than expected");
    for (size_t n = 0; n < size;) n += read_some(s, text + n, size - n);
    return size;
}

/* MARK: TCP and OpenSSL */

static void receive(const job *j)
{
    stream s = open_stream(j);
    char *buffer = malloc(LARGE_BUFFER);
    uint64_t all = j->count * (unmasked_header(j->size) + j->size), bytes = 0;
    size_t end = 4 + j->size;
    end += unmasked_header(end);
    meter m = meter_start();
    say_go(s);
    while (bytes < all) bytes += s.ssl ? read_some(s, buffer, BUFFER) : read_ready(s, buffer, LARGE_BUFFER);
    meter_stop(&m);
    while (bytes < all + end) bytes += read_some(s, buffer, BUFFER); /* the frames behind are not counted */
    report(j->count, j->count * j->size, &m, bytes == all + end);
}

static void send_all(const job *j)
{
    stream s = open_stream(j);
    char *frames, text[128];
    size_t frame = make_frames(j, &frames);
    meter m = meter_start();
    for (uint64_t left = j->count; left;) {
        uint64_t n = left < j->payload_count ? left : j->payload_count;
        write_all(s, frames, n * frame);
        left -= n;
    }
    size_t size = read_text(s, text);
    meter_stop(&m);
    report(j->count, j->count * j->size, &m, is_done(text, size, j->count));
}

static void roundtrip(const job *j)
{
    stream s = open_stream(j);
    char *frames, *buffer = malloc(BUFFER);
    size_t frame = make_frames(j, &frames), answer = unmasked_header(j->size) + j->size;
    double *times = malloc(j->count * sizeof *times);
    bool ok = true;
    meter m = meter_start();
    for (uint64_t i = 0; i < j->count; i++) {
        double start = now();
        write_all(s, frames + i % j->payload_count * frame, frame);
        for (size_t n = 0; n < answer;) n += read_some(s, buffer + n, BUFFER - n);
        times[i] = now() - start;
        if (memcmp(buffer + unmasked_header(j->size), payload_at(j, i), j->size)) ok = false;
    }
    meter_stop(&m);
    report_roundtrips(times, j->count, &m, ok);
}

/* MARK: zlib */

/* Parses frames in place and inflates each message: the least work that compression needs. */
static void inflate_all(const job *j)
{
    stream s = open_stream(j);
    size_t room = BUFFER + 2 * j->size + 64;
    uint8_t *buffer = malloc(room), *b = buffer, *end = buffer;
    char *message = malloc(j->size + 64);
    z_stream z = {0};
    if (!buffer || !message || inflateInit2(&z, -15) != Z_OK) abort();
    tally t = tally_start(j->count);
    say_go(s);
    for (;;) {
        size_t size = 0, header = 2, have = (size_t)(end - b);
        if (have >= 2) {
            header = b[1] < 126 ? 2 : b[1] == 126 ? 4 : 10;
            size = b[1];
            if (have >= header && header > 2)
                for (size_t i = size = 0; i < header - 2; i++) size = size << 8 | b[2 + i];
        }
        if (have < 2 || have < header || have < header + size) {
            memmove(buffer, b, have);
            b = buffer;
            end = b + have + read_some(s, b + have, room - have);
            continue;
        }
        b += header;
        if (!(b[-(ptrdiff_t)header] & 0x40)) {
            tally_take(&t, (char *)b, size);
            break;
        }
        z.next_in = b;
        z.avail_in = (unsigned)size;
        z.next_out = (uint8_t *)message;
        z.avail_out = (unsigned)j->size + 64;
        inflate(&z, Z_SYNC_FLUSH);
        z.next_in = (uint8_t *)"\0\0\377\377";
        z.avail_in = 4;
        inflate(&z, Z_SYNC_FLUSH);
        tally_take(&t, message, j->size + 64 - z.avail_out);
        b += size;
    }
    report_tally(&t, j->size);
}

static void deflate_all(const job *j)
{
    static const uint8_t no_mask[4];
    stream s = open_stream(j);
    z_stream z = {0};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    size_t bound = deflateBound(&z, j->size) + 16, filled = 0;
    uint8_t *buffer = malloc(BUFFER + bound + HEADER);
    char text[128];
    meter m = meter_start();
    for (uint64_t i = 0; i < j->count; i++) {
        uint8_t *frame = buffer + filled, *output = frame + HEADER;
        z.next_in = (uint8_t *)payload_at(j, i);
        z.avail_in = (unsigned)j->size;
        z.next_out = output;
        z.avail_out = (unsigned)bound;
        deflate(&z, Z_SYNC_FLUSH);
        size_t size = bound - z.avail_out - 4, header = put_header(frame, 0xC1, size, no_mask);
        memmove(frame + header, output, size);
        filled += header + size;
        if (filled < BUFFER && i + 1 < j->count) continue;
        write_all(s, buffer, filled);
        filled = 0;
    }
    size_t size = read_text(s, text);
    meter_stop(&m);
    report(j->count, j->count * j->size, &m, is_done(text, size, j->count));
}

/* MARK: Connections */

/* Measures how fast the server accepts connections. */
static void idle(const job *j)
{
    long empty = resident_bytes();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    char text[1024];
    size_t request = put_request(text, sizeof text, j);
    uint64_t begun = 0, opened = 0;
    meter m = meter_start();
    while (opened < j->count) {
        for (; begun < j->count && begun - opened < OPENING_AT_ONCE; begun++) {
            struct epoll_event e = {EPOLLOUT, {.fd = connect_to(j->port, SOCK_NONBLOCK)}};
            epoll_ctl(epoll, EPOLL_CTL_ADD, e.data.fd, &e);
        }
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct epoll_event e = {EPOLLIN, events[i].data};
            if (events[i].events & EPOLLIN) {
                char answer[1024];
                if (recv(e.data.fd, answer, sizeof answer, 0) <= 0) fail("refused");
                epoll_ctl(epoll, EPOLL_CTL_DEL, e.data.fd, NULL);
                opened++;
            } else {
                if (send(e.data.fd, text, request, MSG_NOSIGNAL) < 0) fail("can't connect");
                epoll_ctl(epoll, EPOLL_CTL_MOD, e.data.fd, &e);
            }
        }
    }
    meter_stop(&m);
    report_idle(opened, &m, empty);
}

int main(int argc, char **argv)
{
    job j = read_job(argc, argv);
    if (is_mode(&j, "receive")) (j.deflates ? inflate_all : receive)(&j);
    else if (is_mode(&j, "send")) (j.deflates ? deflate_all : send_all)(&j);
    else if (is_mode(&j, "roundtrip")) roundtrip(&j);
    else if (is_mode(&j, "idle")) idle(&j);
    else fail("no limit for this");
}
