/* The load server of the benchmarks: one thread, epoll, and as little work per message as possible, so
 * that the client is the bottleneck. Prints two ports: plain, and TLS with a certificate made at the start.
 * The request's path chooses the behaviour; KIND and SIZE describe the messages (payloads.h):
 *
 *   /echo                     echoes every message
 *   /flood/KIND/COUNT/SIZE    after the client's first message: COUNT numbered messages, then "done" with the last
 *                             message again
 *   /tick/KIND/COUNT/SIZE     the same, but one message per second; connections are spread over the second
 *   /sink/KIND/COUNT/SIZE     receives the set's messages in order, repeatedly; after COUNT of them it sends
 *                             "done COUNT", or "wrong" if any was not the expected one
 *   /hold/KIND/COUNT/SIZE     the same after one more message, but it reads nothing until a client requests
 *                             /echo/release
 *
 * "server payloads KIND SIZE" writes the set of messages to standard output, for the clients to send.
 */
#define _GNU_SOURCE
#include "payloads.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <zlib.h>

enum { INPUT = 256 << 10, HEAD = 8192, FRAME_HEADER = 14, TICKS = 1000 };
enum opcode { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum mode { HANDSHAKE, ECHO, FLOOD, TICK, SINK };

typedef struct bytes {
    char *start;
    size_t capacity, begin, end;
} bytes;

typedef struct peer {
    int fd;
    SSL *ssl;
    enum mode mode;
    /* from the path */
    const payloads *set;
    uint64_t count;
    bool deflates;
    /* number of the next message, in or out */
    uint64_t sequence;
    /* an incomplete frame header; the frame being read */
    uint8_t cut[FRAME_HEADER];
    size_t cut_count;
    bool in_frame, is_last, is_control, is_compressed;
    uint8_t first;
    uint8_t mask[4];
    unsigned phase;
    uint64_t left;
    /* the message being read: bytes so far, and the bytes themselves where they are needed */
    uint64_t position;
    bytes message;
    bool wrong;
    z_stream *inflater;
    /* frames that are sent repeatedly with new numbers, or a part of a compressed flood */
    char *frames;
    size_t frames_begin, frames_end;
    bool has_begun, is_flooding, is_closing, holds, has_ballast;
    /* all other bytes to be written */
    bytes out;
    bool waits_to_write;
} peer;

static int epoll;
/* An incomplete frame header is put in front of the next read. */
static uint8_t input[FRAME_HEADER + INPUT];

static void *must(void *memory)
{
    if (!memory) abort();
    return memory;
}

static char *room(bytes *b, size_t count)
{
    if (b->begin == b->end) b->begin = b->end = 0;
    if (b->capacity - b->end < count) {
        if (b->begin) {
            memmove(b->start, b->start + b->begin, b->end - b->begin);
            b->end -= b->begin;
            b->begin = 0;
        }
        if (b->capacity - b->end < count) {
            b->capacity = (b->end + count) * 2;
            b->start = must(realloc(b->start, b->capacity));
        }
    }
    return b->start + b->end;
}

static void append(bytes *b, const void *data, size_t count)
{
    memcpy(room(b, count), data, count);
    b->end += count;
}

static void release(bytes *b)
{
    free(b->start);
    *b = (bytes){0};
}

/* MARK: Frames out */

static size_t put_header(uint8_t *o, uint8_t first, size_t size)
{
    o[0] = first;
    if (size < 126) {
        o[1] = (uint8_t)size;
        return 2;
    }
    int width = size < 65536 ? 2 : 8;
    o[1] = width == 2 ? 126 : 127;
    for (int i = 0; i < width; i++) o[2 + i] = (uint8_t)(size >> (8 * (width - 1 - i)));
    return 2 + (size_t)width;
}

static void put_frame(peer *p, uint8_t first, const void *payload, size_t size)
{
    p->out.end += put_header((uint8_t *)room(&p->out, FRAME_HEADER + size), first, size);
    append(&p->out, payload, size);
}

static uint8_t opcode_of(const payloads *set) { return !strcmp(set->kind, "binary") ? BINARY : TEXT; }

/* Queues "done" and the last message again. */
static void put_end(peer *p)
{
    const payloads *set = p->set;
    uint64_t last = p->count - 1;
    char *text = must(malloc(4 + set->size));
    memcpy(text, "done", 4);
    memcpy(text + 4, payload(set, last), set->size);
    put_number(text + 4 + set->number_at, last);
    put_frame(p, 0x80 | opcode_of(set), text, 4 + set->size);
    free(text);
}

/* Encodes all messages of a set as frames. */
static void make_frames(peer *p)
{
    const payloads *set = p->set;
    p->frames = must(malloc(set->count * (set->size + FRAME_HEADER)));
    char *o = p->frames;
    for (size_t i = 0; i < set->count; i++) {
        o += put_header((uint8_t *)o, 0x80 | opcode_of(set), set->size);
        memcpy(o, payload(set, i), set->size);
        o += set->size;
    }
    p->frames_begin = p->frames_end = (size_t)(o - p->frames);
}

/* Writes the next sequence numbers into the frames. */
static void number_frames(peer *p)
{
    const payloads *set = p->set;
    uint8_t header[FRAME_HEADER];
    size_t before = put_header(header, 0, set->size), frame = before + set->size;
    uint64_t left = p->count - p->sequence;
    size_t count = left < set->count ? (size_t)left : set->count;
    char *number = p->frames + before + set->number_at;
    for (size_t i = 0; i < count; i++, number += frame) put_number(number, p->sequence++);
    p->frames_begin = 0;
    p->frames_end = count * frame;
}

/* A compressed flood, made in advance because deflate is slower than the client's inflate. It is kept and
 * grows for the next connection; only one connection at a time may use it. */
typedef struct compressed {
    const payloads *set;
    z_stream stream;
    bytes frames;
    size_t *ends, count, capacity;
    struct compressed *next;
} compressed;

static void compress_message(compressed *c)
{
    const payloads *set = c->set;
    char *message = must(malloc(set->size));
    memcpy(message, payload(set, c->count), set->size);
    put_number(message + set->number_at, c->count);
    size_t bound = deflateBound(&c->stream, set->size) + 16;
    uint8_t *output = must(malloc(bound));
    c->stream.next_in = (uint8_t *)message;
    c->stream.avail_in = (unsigned)set->size;
    c->stream.next_out = output;
    c->stream.avail_out = (unsigned)bound;
    deflate(&c->stream, Z_SYNC_FLUSH);
    /* RFC 7692 section 7.2.1: remove the last four bytes. */
    size_t size = bound - c->stream.avail_out - 4;
    c->frames.end += put_header((uint8_t *)room(&c->frames, FRAME_HEADER + size), 0xC0 | opcode_of(set), size);
    append(&c->frames, output, size);
    free(output);
    free(message);
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 1024;
        c->ends = must(realloc(c->ends, c->capacity * sizeof *c->ends));
    }
    c->ends[c->count++] = c->frames.end;
}

static compressed *compressed_of(const payloads *set, uint64_t count)
{
    static compressed *all;
    compressed *c = all;
    while (c && c->set != set) c = c->next;
    if (!c) {
        c = must(calloc(1, sizeof *c));
        c->set = set;
        c->next = all;
        all = c;
        if (deflateInit2(&c->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    }
    while (c->count < count) compress_message(c);
    return c;
}

/* MARK: Ticks */

static peer **ticking;
static size_t ticking_count, ticking_capacity;
static int timer;

static void set_timer(bool runs)
{
    struct timespec step = {0, runs ? 1000000000 / TICKS : 0};
    struct itimerspec every = {step, step};
    timerfd_settime(timer, 0, &every, NULL);
}

static void begin_ticking(peer *p)
{
    if (ticking_count == ticking_capacity) {
        ticking_capacity = ticking_capacity ? ticking_capacity * 2 : 1024;
        ticking = must(realloc(ticking, ticking_capacity * sizeof *ticking));
    }
    if (!ticking_count) set_timer(true);
    ticking[ticking_count++] = p;
}

static void end_ticking(const peer *p)
{
    size_t i = 0;
    while (i < ticking_count && ticking[i] != p) i++;
    if (i == ticking_count) return;
    ticking[i] = NULL;
    while (ticking_count && !ticking[ticking_count - 1]) ticking_count--;
    if (!ticking_count) set_timer(false);
}

/* MARK: Sockets */

/* A connection that is not read (/hold). */
static peer *held;

static void drop(peer *p)
{
    if (p == held) held = NULL;
    if (p->mode == TICK) end_ticking(p);
    if (p->ssl) SSL_free(p->ssl);
    close(p->fd);
    if (p->inflater) {
        inflateEnd(p->inflater);
        free(p->inflater);
    }
    if (!p->deflates) free(p->frames);
    release(&p->message);
    release(&p->out);
    free(p);
}

/* Return values as for read and write: -1 with EAGAIN when the call would block. */
static ssize_t tls_result(peer *p, int n)
{
    if (n > 0) return n;
    int error = SSL_get_error(p->ssl, n);
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t receive(peer *p, void *buffer, size_t size)
{
    if (p->ssl) return tls_result(p, SSL_read(p->ssl, buffer, (int)size));
    return recv(p->fd, buffer, size, 0);
}

static ssize_t transmit(peer *p, const void *buffer, size_t size)
{
    if (p->ssl) return tls_result(p, SSL_write(p->ssl, buffer, size > 1 << 30 ? 1 << 30 : (int)size));
    return send(p->fd, buffer, size, MSG_NOSIGNAL);
}

static void watch(peer *p, bool writing)
{
    if (p->waits_to_write == writing) return;
    p->waits_to_write = writing;
    struct epoll_event e = {writing ? EPOLLIN | EPOLLOUT : EPOLLIN, {.ptr = p}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &e);
}

/* Writes queued bytes until the kernel takes no more. False when the peer is gone or our Close was sent. */
static bool flush(peer *p)
{
    for (;;) {
        if (p->frames_begin == p->frames_end && p->is_flooding) {
            if (!p->deflates && p->sequence < p->count) {
                number_frames(p);
            } else {
                p->is_flooding = false;
                put_end(p);
            }
        }
        /* A frame is finished before control frames: no pong is urgent here. */
        bool floods = p->frames_begin < p->frames_end;
        size_t *begin = floods ? &p->frames_begin : &p->out.begin;
        size_t end = floods ? p->frames_end : p->out.end;
        if (*begin == end) break;
        ssize_t n = transmit(p, (floods ? p->frames : p->out.start) + *begin, end - *begin);
        if (n < 0) {
            if (errno != EAGAIN) return false;
            watch(p, true);
            return true;
        }
        *begin += (size_t)n;
    }
    if (p->ssl && BIO_flush(SSL_get_wbio(p->ssl)) <= 0) {
        watch(p, true);
        return BIO_should_retry(SSL_get_wbio(p->ssl));
    }
    if (p->out.capacity > 65536) release(&p->out);
    watch(p, false);
    return !p->is_closing;
}

static void tick(void)
{
    static size_t slot;
    uint64_t elapsed;
    if (read(timer, &elapsed, sizeof elapsed) != sizeof elapsed) return;
    for (; elapsed; elapsed--, slot = (slot + 1) % TICKS) {
        for (size_t i = slot; i < ticking_count; i += TICKS) {
            peer *p = ticking[i];
            if (!p || p->sequence == p->count) continue;
            const payloads *set = p->set;
            put_frame(p, 0x80 | opcode_of(set), payload(set, p->sequence), set->size);
            put_number(p->out.start + p->out.end - set->size + set->number_at, p->sequence);
            if (++p->sequence == p->count) put_end(p);
            if (!flush(p)) drop(p);
        }
    }
}

/* MARK: Frames in */

/* Whether masked bytes equal the expected payload. */
static bool matches(const uint8_t *b, const uint8_t *mask, unsigned phase, const char *expected, size_t count)
{
    uint8_t turned[8];
    for (unsigned i = 0; i < 8; i++) turned[i] = mask[(phase + i) & 3];
    uint64_t key, word, wanted, difference = 0;
    memcpy(&key, turned, 8);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        memcpy(&word, b + i, 8);
        memcpy(&wanted, expected + i, 8);
        difference |= word ^ key ^ wanted;
    }
    for (; i < count; i++) difference |= (uint64_t)(b[i] ^ turned[i & 7] ^ (uint8_t)expected[i]);
    return difference == 0;
}

static void unmask(peer *p, uint8_t *b, size_t count)
{
    uint8_t turned[8];
    for (unsigned i = 0; i < 8; i++) turned[i] = p->mask[(p->phase + i) & 3];
    uint64_t key, word;
    memcpy(&key, turned, 8);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        memcpy(&word, b + i, 8);
        word ^= key;
        memcpy(b + i, &word, 8);
    }
    for (; i < count; i++) b[i] ^= turned[i & 7];
}

/* A piece of a message for the sink: checks both ends, or all bytes of a short piece. */
static void check(peer *p, const uint8_t *b, size_t count)
{
    enum { LOOK = 32 };
    const payloads *set = p->set;
    if (p->position + count > set->size) {
        p->wrong = true;
        return;
    }
    const char *expected = payload(set, p->sequence) + p->position;
    size_t look = count < LOOK ? count : LOOK, rest = count - look;
    bool same = matches(b, p->mask, p->phase, expected, look);
    if (rest > LOOK) same &= matches(b + count - LOOK, p->mask, p->phase + (unsigned)(count - LOOK), expected + count - LOOK, LOOK);
    else same &= matches(b + look, p->mask, p->phase + (unsigned)look, expected + look, rest);
    if (!same) p->wrong = true;
}

/* A piece of a compressed message: appends its bytes to p->message. */
static void expand(peer *p, const void *b, size_t count)
{
    if (!p->inflater) {
        p->inflater = must(calloc(1, sizeof *p->inflater));
        if (inflateInit2(p->inflater, -15) != Z_OK) abort();
    }
    p->inflater->next_in = (uint8_t *)b;
    p->inflater->avail_in = (unsigned)count;
    do {
        /* Room for one byte more than expected, so that a too long message is noticed. */
        size_t space = p->set->size + 1 - (p->message.end - p->message.begin);
        p->inflater->next_out = (uint8_t *)room(&p->message, space);
        p->inflater->avail_out = (unsigned)space;
        int status = inflate(p->inflater, Z_SYNC_FLUSH);
        p->message.end += space - p->inflater->avail_out;
        if (status != Z_OK && status != Z_BUF_ERROR) p->wrong = true;
        if (p->message.end - p->message.begin > p->set->size) p->wrong = true;
    } while (p->inflater->avail_in && !p->wrong);
}

static void sink_message(peer *p)
{
    if (p->is_compressed) {
        expand(p, "\0\0\377\377", 4);
        p->position = p->message.end - p->message.begin;
        if (p->position == p->set->size &&
            memcmp(p->message.start + p->message.begin, payload(p->set, p->sequence), p->set->size))
            p->wrong = true;
        p->message.begin = p->message.end;
    }
    if (p->position != p->set->size || p->is_compressed != p->deflates) p->wrong = true;
    if (++p->sequence != p->count) return;
    char text[64];
    if (p->wrong) strcpy(text, "wrong");
    else snprintf(text, sizeof text, "done %llu", (unsigned long long)p->count);
    put_frame(p, 0x80 | TEXT, text, strlen(text));
}

/* The client's first message has come: starts the flood or the ticks. */
static void begin(peer *p)
{
    p->has_begun = true;
    if (p->mode == TICK) begin_ticking(p);
    if (p->mode != FLOOD) return;
    p->is_flooding = true;
    if (p->deflates) {
        compressed *c = compressed_of(p->set, p->count);
        p->frames = c->frames.start;
        p->frames_end = c->ends[p->count - 1];
    } else {
        make_frames(p);
    }
}

/* Called after the last piece of a message or of a control frame. */
static void finish(peer *p)
{
    char *whole = p->message.start + p->message.begin;
    size_t size = p->message.end - p->message.begin;
    switch (p->first & 15) {
    case CLOSE:
        put_frame(p, 0x80 | CLOSE, whole, size);
        p->is_closing = true;
        break;
    case PING: put_frame(p, 0x80 | PONG, whole, size); break;
    case PONG: break;
    default:
        if (p->mode == ECHO) put_frame(p, p->first | 0x80, whole, size);
        if (p->mode == SINK && !p->has_ballast) sink_message(p);
        p->has_ballast = false;
        if (!p->has_begun) begin(p);
        p->position = 0;
    }
    p->message.begin = p->message.end;
}

/* Parses the frame header at b. Returns its length, or 0 if it is incomplete. */
static size_t read_header(peer *p, const uint8_t *b, size_t count)
{
    if (count < 2) return 0;
    uint64_t size = b[1] & 127;
    size_t at = 2, width = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (count < at + width + 4) return 0;
    if (width) {
        size = 0;
        for (size_t i = 0; i < width; i++) size = size << 8 | b[at++];
    }
    memcpy(p->mask, b + at, 4);
    p->phase = 0;
    p->left = size;
    p->is_last = b[0] & 0x80;
    p->is_control = b[0] & 8;
    if (b[0] & 15) {
        p->first = b[0];
        if (!p->is_control) p->is_compressed = b[0] & 0x40;
    }
    return at + 4;
}

static void take(peer *p, uint8_t *b, uint8_t *end)
{
    for (;;) {
        if (!p->in_frame) {
            size_t n = read_header(p, b, (size_t)(end - b));
            if (!n) {
                p->cut_count = (size_t)(end - b);
                memcpy(p->cut, b, p->cut_count);
                return;
            }
            b += n;
            p->in_frame = true;
        }
        size_t n = p->left < (uint64_t)(end - b) ? (size_t)p->left : (size_t)(end - b);
        if (p->mode == SINK && !p->is_control && !p->is_compressed) {
            if (!p->has_ballast) check(p, b, n);
        } else {
            unmask(p, b, n);
            if (p->mode == SINK && !p->is_control) expand(p, b, n);
            else append(&p->message, b, n);
        }
        b += n;
        p->phase += (unsigned)n;
        p->position += p->is_control ? 0 : n;
        p->left -= n;
        if (p->left) return;
        p->in_frame = false;
        if (p->is_last) finish(p);
    }
}

/* MARK: Holding */

static void hold(peer *p)
{
    struct epoll_event nothing = {0, {.ptr = p}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &nothing);
    held = p;
    p->holds = false;
}

static void let_go(void)
{
    if (!held) return;
    held->waits_to_write = true;
    watch(held, false);
    held = NULL;
}

/* MARK: Handshake */

/* Answers the HTTP request. False when it can't be served. */
static bool handshake(peer *p)
{
    char *head = p->message.start;
    char *key = strcasestr(head, "\r\nsec-websocket-key:");
    if (!key) return false;
    key += 20;
    while (*key == ' ') key++;
    char text[128];
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char digest[20], accept[32];
    SHA1((unsigned char *)text, strlen(text), digest);
    EVP_EncodeBlock(accept, digest, 20);

    char mode[16] = "", kind[16] = "";
    unsigned long long count = 0, size = 0;
    if (sscanf(head, "GET /%15[a-z]/%15[a-z0-9]/%llu/%llu", mode, kind, &count, &size) == 4) {
        p->set = payloads_of(kind, (size_t)size);
        if (!p->set || !count) return false;
        p->count = count;
    }
    if (!strncmp(head, "GET /echo", 9)) p->mode = ECHO;
    else if (p->set && !strcmp(mode, "flood")) p->mode = FLOOD;
    else if (p->set && !strcmp(mode, "tick")) p->mode = TICK;
    else if (p->set && (!strcmp(mode, "sink") || !strcmp(mode, "hold"))) p->mode = SINK;
    else return false;
    p->holds = p->has_ballast = !strcmp(mode, "hold");
    if (!strncmp(head, "GET /echo/release", 17)) let_go();
    p->deflates = strcasestr(head, "permessage-deflate") && p->set;
    if (p->deflates && p->mode == FLOOD) compressed_of(p->set, p->count);

    char *o = room(&p->out, 512);
    p->out.end += (size_t)sprintf(o,
                                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: %s\r\n%s\r\n",
                                  accept, p->deflates ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    release(&p->message);
    return true;
}

static bool readable(peer *p)
{
    for (;;) {
        uint8_t *start = input + FRAME_HEADER;
        ssize_t n = receive(p, start, INPUT);
        if (n == 0) {
            /* The client has finished. A TIME_WAIT entry, kept for a minute, would slow the next clients. */
            struct linger forget = {1, 0};
            setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &forget, sizeof forget);
            return false;
        }
        if (n < 0) {
            if (errno != EAGAIN) return false;
            break;
        }
        if (p->mode == HANDSHAKE) {
            append(&p->message, start, (size_t)n);
            *room(&p->message, 1) = 0;
            if (!strstr(p->message.start, "\r\n\r\n")) {
                if (p->message.end > HEAD) return false;
            } else if (!handshake(p)) {
                return false;
            }
        } else {
            start -= p->cut_count;
            memcpy(start, p->cut, p->cut_count);
            size_t count = (size_t)n + p->cut_count;
            p->cut_count = 0;
            take(p, start, start + count);
        }
        /* OpenSSL may hold decrypted bytes, which epoll does not report; a readable socket is reported again. */
        if (!p->ssl) break;
    }
    bool alive = flush(p);
    if (alive && p->holds) hold(p);
    return alive;
}

/* MARK: Listening */

/* Makes a key and a self-signed certificate. */
static SSL_CTX *make_tls(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    if (!context || !key || !certificate) abort();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(context, certificate);
    SSL_CTX_use_PrivateKey(context, key);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, INPUT);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

/* Listens on a free port and prints it. */
static int listen_somewhere(void)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("server");
        exit(1);
    }
    printf("%d ", ntohs(address.sin_port));
    return listener;
}

static void accept_all(int listener, SSL_CTX *tls)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peer *p = must(calloc(1, sizeof *p));
        p->fd = fd;
        if (tls) {
            p->ssl = must(SSL_new(tls));
            SSL_set_fd(p->ssl, fd);
            SSL_set_accept_state(p->ssl);
            /* Writes many TLS records with one call. */
            BIO *buffer = must(BIO_new(BIO_f_buffer()));
            BIO_set_write_buffer_size(buffer, INPUT);
            SSL_set0_wbio(p->ssl, BIO_push(buffer, must(BIO_new_socket(fd, BIO_NOCLOSE))));
        }
        struct epoll_event e = {EPOLLIN, {.ptr = p}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "payloads")) {
        const payloads *set = payloads_of(argv[2], strtoull(argv[3], NULL, 10));
        return !set || fwrite(set->bytes, set->size, set->count, stdout) != set->count;
    }
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX *tls = make_tls();
    int plain = listen_somewhere(), secure = listen_somewhere();
    printf("\n");
    fflush(stdout);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int *sources[] = {&plain, &secure, &timer};
    struct epoll_event e = {.events = EPOLLIN}, events[256];
    for (size_t i = 0; i < 3; i++) {
        e.data.ptr = sources[i];
        epoll_ctl(epoll, EPOLL_CTL_ADD, *sources[i], &e);
    }
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        bool ticks = false;
        for (int i = 0; i < count; i++) {
            void *source = events[i].data.ptr;
            if (source == &plain) {
                accept_all(plain, NULL);
            } else if (source == &secure) {
                accept_all(secure, tls);
            } else if (source == &timer) {
                ticks = true;
            } else {
                peer *p = source;
                bool alive = true;
                if (events[i].events & EPOLLOUT) alive = flush(p);
                if (alive && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = readable(p);
                if (!alive) drop(p);
            }
        }
        /* Last, because it may free a peer that has an event in this batch. */
        if (ticks) tick();
    }
}
