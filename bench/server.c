/* The load server of the benchmarks: one thread, epoll, as little work for a message as there can be, so
 * that what is measured is the client. Prints its port. The request's path says what a connection does:
 *
 *   /echo                       sends every message back
 *   /flood/COUNT/SIZE[/same]    sends COUNT text messages of SIZE bytes, all different unless "same", then "done"
 *   /binary/COUNT/SIZE          the same with binary messages that are all alike
 *   /sink/COUNT                 takes COUNT messages, checks their bytes' sum, then sends "done SUM"
 *   /raw/BYTES                  after the handshake BYTES bytes without frames: the limit of the socket
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT = 1 << 20, OUTPUT = 1 << 20, HEAD = 8192 };
enum mode { HANDSHAKE, ECHO, FLOOD, SINK, RAW, DONE };

typedef struct peer {
    int fd;
    enum mode mode;
    uint64_t left, size, sequence, sum;
    bool same, binary;
    /* the frame that is being read */
    uint8_t header[14];
    unsigned header_count, header_size;
    uint64_t payload_left, phase;
    uint8_t opcode;
    /* bytes that wait to be written */
    char *out;
    size_t out_capacity, out_start, out_end;
    char *head;
    size_t head_count;
} peer;

static int epoll;
static uint8_t input[INPUT];

static void *must(void *memory)
{
    if (!memory) abort();
    return memory;
}

static char *room(peer *p, size_t count)
{
    if (p->out_start == p->out_end) p->out_start = p->out_end = 0;
    if (p->out_capacity - p->out_end < count) {
        if (p->out_start) {
            memmove(p->out, p->out + p->out_start, p->out_end - p->out_start);
            p->out_end -= p->out_start;
            p->out_start = 0;
        }
        if (p->out_capacity - p->out_end < count) {
            p->out_capacity = (p->out_end + count) * 2;
            p->out = must(realloc(p->out, p->out_capacity));
        }
    }
    return p->out + p->out_end;
}

static void put_frame(peer *p, uint8_t opcode, const void *payload, size_t size)
{
    uint8_t *o = (uint8_t *)room(p, size + 10);
    uint8_t *start = o;
    *o++ = 0x80 | opcode;
    if (size < 126) {
        *o++ = (uint8_t)size;
    } else if (size < 65536) {
        *o++ = 126;
        *o++ = (uint8_t)(size >> 8);
        *o++ = (uint8_t)size;
    } else {
        *o++ = 127;
        for (int i = 7; i >= 0; i--) *o++ = (uint8_t)(size >> (8 * i));
    }
    memcpy(o, payload, size);
    p->out_end += (size_t)(o + size - start);
}

static void put_done(peer *p)
{
    char text[64];
    put_frame(p, 1, text, (size_t)snprintf(text, sizeof text, "done %llu", (unsigned long long)p->sum));
    p->mode = DONE;
}

/* Fills the output with what the mode sends by itself. */
static void produce(peer *p)
{
    static char pattern[16 << 20];
    if (p->mode == RAW) {
        size_t count = p->left < OUTPUT ? (size_t)p->left : OUTPUT;
        room(p, count);
        p->out_end += count;
        p->left -= count;
        if (!p->left) p->mode = DONE;
        return;
    }
    if (p->mode != FLOOD) return;
    if (!pattern[0]) memset(pattern, 'x', sizeof pattern);
    while (p->left && p->out_end - p->out_start < OUTPUT) {
        if (!p->same && p->size >= 16) {
            static const char hex[] = "0123456789abcdef";
            for (int i = 0; i < 16; i++) pattern[i] = hex[p->sequence >> (4 * (15 - i)) & 15];
        }
        put_frame(p, p->binary ? 2 : 1, pattern, (size_t)p->size);
        p->sequence++;
        p->left--;
    }
    if (!p->left) put_done(p);
}

static void drop(peer *p)
{
    close(p->fd);
    free(p->out);
    free(p->head);
    free(p);
}

/* False when the peer is gone. */
static bool flush(peer *p)
{
    for (;;) {
        if (p->out_start == p->out_end) {
            produce(p);
            if (p->out_start == p->out_end) break;
        }
        ssize_t n = send(p->fd, p->out + p->out_start, p->out_end - p->out_start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN) return false;
            struct epoll_event e = {EPOLLIN | EPOLLOUT, {.ptr = p}};
            epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &e);
            return true;
        }
        p->out_start += (size_t)n;
    }
    if (p->out_capacity > 65536) {
        free(p->out);
        p->out = NULL;
        p->out_capacity = p->out_start = p->out_end = 0;
    }
    struct epoll_event e = {EPOLLIN, {.ptr = p}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &e);
    return true;
}

static void handshake(peer *p)
{
    char *key = strcasestr(p->head, "\r\nsec-websocket-key:");
    if (!key) return;
    key += 20;
    while (*key == ' ') key++;
    char text[128];
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char digest[20], accept[32];
    SHA1((unsigned char *)text, strlen(text), digest);
    EVP_EncodeBlock(accept, digest, 20);
    p->out_end += (size_t)sprintf(room(p, 512),
                                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: %s\r\n\r\n",
                                  accept);
    unsigned long long a = 0, b = 0;
    p->mode = ECHO;
    if (sscanf(p->head, "GET /flood/%llu/%llu", &a, &b) == 2) {
        p->mode = FLOOD;
        p->same = strstr(p->head, "/same ") != NULL;
    } else if (sscanf(p->head, "GET /binary/%llu/%llu", &a, &b) == 2) {
        p->mode = FLOOD;
        p->same = p->binary = true;
    } else if (sscanf(p->head, "GET /sink/%llu", &a) == 1) {
        p->mode = SINK;
    } else if (sscanf(p->head, "GET /raw/%llu", &a) == 1) {
        p->mode = RAW;
    }
    p->left = a;
    p->size = b;
}

static void finish_message(peer *p, const uint8_t *payload, size_t size)
{
    if (p->mode == ECHO && payload) put_frame(p, p->opcode & 15, payload, size);
    if (p->mode == SINK && (p->opcode & 15) < 3 && --p->left == 0) put_done(p);
    if ((p->opcode & 15) == 8) put_frame(p, 8, payload, payload ? size : 0);
}

/* Takes frames; a payload is unmasked in place, whole for echo and control frames. */
static void take(peer *p, uint8_t *b, uint8_t *end)
{
    while (b < end) {
        if (p->header_count < 2 || p->header_count < p->header_size) {
            p->header[p->header_count++] = *b++;
            if (p->header_count == 2) {
                unsigned l = p->header[1] & 127;
                p->header_size = 2 + (l == 126 ? 2 : l == 127 ? 8 : 0) + 4;
            }
            if (p->header_count < 2 || p->header_count < p->header_size) continue;
            p->opcode = p->header[0] & 15;
            uint64_t l = p->header[1] & 127;
            if (l == 126) l = (uint64_t)p->header[2] << 8 | p->header[3];
            else if (l == 127)
                for (int i = l = 0; i < 8; i++) l = l << 8 | p->header[2 + i];
            p->payload_left = l;
            p->phase = 0;
            p->head_count = 0;
        }
        size_t n = p->payload_left < (uint64_t)(end - b) ? (size_t)p->payload_left : (size_t)(end - b);
        const uint8_t *mask = p->header + p->header_size - 4;
        bool keeps = p->mode == ECHO || p->opcode >= 8;
        if (keeps) {
            for (size_t i = 0; i < n; i++) b[i] ^= mask[(p->phase + i) & 3];
            if (n < p->payload_left || p->head_count) { /* cut: collect */
                p->head = must(realloc(p->head, p->head_count + n + 1));
                memcpy(p->head + p->head_count, b, n);
                p->head_count += n;
            }
        } else if (n && p->mode == SINK) {
            p->sum += b[0] ^ mask[p->phase & 3]; /* one byte a piece: enough to notice what is wrong */
        }
        p->payload_left -= n;
        p->phase += n;
        if (!p->payload_left) {
            p->header_count = p->header_size = 0;
            if (p->head_count) finish_message(p, (uint8_t *)p->head, p->head_count);
            else finish_message(p, keeps ? b : NULL, n);
        }
        b += n;
    }
}

static bool readable(peer *p)
{
    ssize_t n = recv(p->fd, input, sizeof input, 0);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    if (p->mode == HANDSHAKE) {
        p->head = must(realloc(p->head, p->head_count + (size_t)n + 1));
        memcpy(p->head + p->head_count, input, (size_t)n);
        p->head_count += (size_t)n;
        p->head[p->head_count] = 0;
        if (!strstr(p->head, "\r\n\r\n")) return p->head_count < HEAD;
        handshake(p);
        if (p->mode == HANDSHAKE) return false;
    } else {
        take(p, input, input + n);
    }
    return flush(p);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("server");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {EPOLLIN, {.ptr = NULL}}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            peer *p = events[i].data.ptr;
            if (!p) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                p = must(calloc(1, sizeof *p));
                p->fd = fd;
                struct epoll_event e2 = {EPOLLIN, {.ptr = p}};
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e2);
                continue;
            }
            bool alive = true;
            if (events[i].events & EPOLLOUT) alive = flush(p);
            if (alive && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = readable(p);
            if (!alive) drop(p);
        }
    }
}
