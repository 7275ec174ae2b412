/* The load client of the server benchmarks: one thread, epoll, and as little work per message as possible, so that the
 * server is the bottleneck. bench/servers.py runs it beside each server:
 *
 *   load echo PORT PID CONNECTIONS WINDOW SECONDS
 *       Each connection sends numbered messages, of which at most WINDOW are unanswered, and checks each answer. Measures
 *       SECONDS, after as many to warm up
 *   load broadcast PORT PID CONNECTIONS WINDOW SECONDS
 *       Only the last connection sends; each message must come to all
 *   load open PORT PID CONNECTIONS
 *       Opens the connections, then leaves them idle for a second
 *
 * PID is the server: its processor time and its memory are measured here. Prints one line of JSON. */
#define _GNU_SOURCE
#include "client.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { SIZE = 32, SENT_FRAME = 2 + 4 + SIZE, RECEIVED_FRAME = 2 + SIZE, CYCLE = 1024 };
enum { INPUT = 64 << 10, HEAD = 1024, EVENTS = 256, LONGEST_WAIT = 10 };

typedef struct connection {
    int fd;
    enum { CONNECTING, HANDSHAKE, OPEN } state;
    bool waits_to_write;
    /* Bytes of frames so far, in and out. */
    uint64_t sent, received;
    /* Bytes that may be sent in all. */
    uint64_t allowed;
    char *head;
    size_t head_size;
} connection;

/* CYCLE numbered messages twice, so that a piece of CYCLE frames starts anywhere in the first half. */
static uint8_t masked[2 * CYCLE * SENT_FRAME], plain[2 * CYCLE * RECEIVED_FRAME];
static uint8_t input[INPUT];
static char request[256];
static connection *all;
static size_t connection_count, begun, opened;
static uint64_t window, delivered;
static bool is_broadcast, is_echo;
static struct sockaddr_in address;
static int epoll;
static pid_t server;

static void make_frames(void)
{
    for (uint32_t i = 0; i < 2 * CYCLE; i++) {
        uint8_t *in = plain + i * RECEIVED_FRAME, *out = masked + i * SENT_FRAME;
        /* A new masking key for each frame (RFC 6455 section 5.3). */
        uint32_t key = (i % CYCLE + 1) * 2654435761u;
        char text[64];
        snprintf(text, sizeof text, "message %08u of the workload", i % CYCLE);
        in[0] = 0x81;
        in[1] = SIZE;
        memcpy(in + 2, text, SIZE);
        out[0] = 0x81;
        out[1] = 0x80 | SIZE;
        memcpy(out + 2, &key, 4);
        for (int k = 0; k < SIZE; k++) out[6 + k] = in[2 + k] ^ out[2 + k % 4];
    }
}

/* MARK: The server's process */

static double server_time(void)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(server, &clock) || clock_gettime(clock, &time)) fail("the server has ended");
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static long server_bytes(void)
{
    char name[64];
    long total = 0, resident = 0;
    snprintf(name, sizeof name, "/proc/%d/statm", (int)server);
    FILE *file = fopen(name, "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2) fail("the server has ended");
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

/* MARK: Connections */

static void watch(connection *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event)) fail("epoll_ctl");
}

static void wait_to_write(connection *c, bool waits)
{
    if (c->waits_to_write == waits) return;
    c->waits_to_write = waits;
    watch(c, EPOLL_CTL_MOD, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_request(connection *c)
{
    size_t size = strlen(request);
    ssize_t n = send(c->fd, request, size, MSG_NOSIGNAL);
    if (n == (ssize_t)size) {
        c->state = HANDSHAKE;
        wait_to_write(c, false);
    } else if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
        wait_to_write(c, true);
    } else {
        fail("can't connect");
    }
}

static void begin(connection *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("no socket");
    int on = 1;
    /* Connections that end with a reset leave no port behind. */
    struct linger reset = {1, 0};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) fail("can't connect");
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
    send_request(c);
}

/* The last one, which sends the broadcasts, begins when the server has accepted all others. */
static void begin_next(void)
{
    while (begun + 1 < connection_count && begun - opened < OPENING_AT_ONCE) begin(&all[begun++]);
    if (begun + 1 == connection_count && opened == begun) begin(&all[begun++]);
}

/* The server sends nothing after its response before it has got a message. */
static void read_response(connection *c)
{
    if (!c->head && !(c->head = malloc(HEAD))) abort();
    ssize_t n = recv(c->fd, c->head + c->head_size, HEAD - 1 - c->head_size, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) fail("the server has closed a connection");
    c->head_size += (size_t)n;
    c->head[c->head_size] = 0;
    if (!strstr(c->head, "\r\n\r\n")) return;
    /* The answer to the key of `request`, from RFC 6455 section 1.3. */
    if (strncmp(c->head, "HTTP/1.1 101 ", 13) || !strstr(c->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) fail("refused");
    free(c->head);
    c->head = NULL;
    c->state = OPEN;
    opened++;
    begin_next();
}

/* MARK: Messages */

static void write_frames(connection *c)
{
    while (c->sent < c->allowed) {
        size_t size = c->allowed - c->sent, most = CYCLE * SENT_FRAME;
        ssize_t n = send(c->fd, masked + c->sent % most, size < most ? size : most, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) fail("the server has closed a connection");
        if (n < 0) break;
        c->sent += (uint64_t)n;
    }
    wait_to_write(c, c->sent < c->allowed);
}

/* Sends more when half of the window is answered. */
static void refill(connection *c, uint64_t answered)
{
    uint64_t unanswered = c->allowed / SENT_FRAME - answered;
    if (unanswered && window - unanswered < window / 2) return;
    c->allowed = (answered + window) * SENT_FRAME;
    if (!c->waits_to_write) write_frames(c);
}

static void read_frames(connection *c)
{
    ssize_t n = recv(c->fd, input, INPUT, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) fail("the server has closed a connection");
    size_t cycle = CYCLE * RECEIVED_FRAME;
    for (size_t checked = 0; checked < (size_t)n;) {
        size_t position = (c->received + checked) % cycle, size = (size_t)n - checked;
        if (size > cycle) size = cycle;
        if (memcmp(input + checked, plain + position, size)) fail("messages were lost, reordered or changed");
        checked += size;
    }
    uint64_t before = c->received / RECEIVED_FRAME;
    c->received += (uint64_t)n;
    uint64_t messages = c->received / RECEIVED_FRAME;
    delivered += messages - before;
    if (is_echo) refill(c, messages);
}

/* A broadcast is answered when it has come to all connections, on average. */
static void refill_broadcast(void) { refill(&all[connection_count - 1], delivered / connection_count); }

static void handle(connection *c, uint32_t events)
{
    if (c->state == CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) fail("can't connect");
        send_request(c);
    } else if (c->state == HANDSHAKE) {
        read_response(c);
    } else {
        if (events & EPOLLOUT) write_frames(c);
        if (events & ~(uint32_t)EPOLLOUT) read_frames(c);
    }
}

static bool run_once(int milliseconds)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, milliseconds);
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < count; i++) handle(events[i].data.ptr, events[i].events);
    return count > 0;
}

static void run_for(double seconds)
{
    double end = now() + seconds;
    while (now() < end) {
        if (!run_once(LONGEST_WAIT * 1000)) fail("the server has stopped answering");
        if (is_broadcast) refill_broadcast();
    }
}

/* MARK: Modes */

static void open_all(void)
{
    double end = now() + 6 * LONGEST_WAIT;
    begin_next();
    while (opened < connection_count) {
        if (!run_once(LONGEST_WAIT * 1000) || now() > end) fail("connections were not answered");
    }
}

static void measure_opening(void)
{
    long empty = server_bytes();
    double cpu = server_time(), start = now();
    open_all();
    double seconds = now() - start;
    cpu = server_time() - cpu;
    /* The server may free memory of the handshakes meanwhile. */
    usleep(1000000);
    printf("{\"messages\": %zu, \"seconds\": %.9f, \"cpu\": %.6f, \"rss\": %ld, \"empty\": %ld, \"ok\": true}\n",
           opened, seconds, cpu, server_bytes(), empty);
}

static void measure_messages(double seconds)
{
    open_all();
    for (size_t i = is_echo ? 0 : connection_count - 1; i < connection_count; i++) refill(&all[i], 0);
    /* Long enough for a compiler that works while the server runs. */
    run_for(seconds);
    uint64_t before = delivered;
    double cpu = server_time(), start = now();
    run_for(seconds);
    double measured = now() - start;
    printf("{\"messages\": %llu, \"seconds\": %.9f, \"cpu\": %.6f, \"rss\": %ld, \"ok\": true}\n",
           (unsigned long long)(delivered - before), measured, server_time() - cpu, server_bytes());
}

int main(int argc, char **argv)
{
    bool opens = argc == 5 && !strcmp(argv[1], "open");
    is_echo = argc == 7 && !strcmp(argv[1], "echo");
    is_broadcast = argc == 7 && !strcmp(argv[1], "broadcast");
    if (!opens && !is_echo && !is_broadcast) fail("usage: load MODE PORT PID CONNECTIONS [WINDOW SECONDS]");
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = atoi(argv[3]);
    connection_count = strtoul(argv[4], NULL, 10);
    all = calloc(connection_count, sizeof *all);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!connection_count || !all || epoll < 0) fail("no connections");
    snprintf(request, sizeof request,
             "GET / HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             argv[2]);
    make_frames();
    if (opens) {
        measure_opening();
    } else {
        window = strtoull(argv[5], NULL, 10);
        measure_messages(atof(argv[6]));
    }
    return 0;
}
