/* libwebsockets' server: on libev, with a large service buffer; UTF-8 is checked as in all servers. It writes from the
 * callback that has received a message; libwebsockets keeps bytes that the kernel does not take.
 *     lws_server MODE */
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 256 << 10, MESSAGE = 64 << 10 };

/* libwebsockets' memory for each connection. */
typedef struct session {
    struct lws *wsi;
    struct session *next;
    /* the beginning of a message that came in pieces */
    char *pieces;
    size_t filled;
} session;

static bool broadcasts;
static session *all;
static unsigned char output[LWS_PRE + MESSAGE];

static void leave(session *s)
{
    session **link = &all;
    while (*link != s) link = &(*link)->next;
    *link = s->next;
    free(s->pieces);
}

static bool answer(session *s, const char *data, size_t size)
{
    memcpy(output + LWS_PRE, data, size);
    enum lws_write_protocol type = lws_frame_is_binary(s->wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    if (!broadcasts) return lws_write(s->wsi, output + LWS_PRE, size, type) >= 0;
    for (session *other = all; other; other = other->next) {
        if (lws_write(other->wsi, output + LWS_PRE, size, type) < 0) return false;
    }
    return true;
}

/* Joins the pieces of a message, unless it came in one. */
static bool receive(session *s, const char *data, size_t size)
{
    bool last = lws_is_final_fragment(s->wsi) && !lws_remaining_packet_payload(s->wsi);
    if (last && !s->filled) return answer(s, data, size);
    if (s->filled + size > MESSAGE) return false;
    if (!s->pieces && !(s->pieces = malloc(MESSAGE))) abort();
    memcpy(s->pieces + s->filled, data, size);
    s->filled += size;
    if (!last) return true;
    size_t whole = s->filled;
    s->filled = 0;
    return answer(s, s->pieces, whole);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    session *s = user;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        *s = (session){wsi, all, NULL, 0};
        all = s;
        return 0;
    case LWS_CALLBACK_RECEIVE: return receive(s, in, size) ? 0 : -1;
    case LWS_CALLBACK_CLOSED: leave(s); return 0;
    default: return 0;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) return 1;
    broadcasts = !strcmp(argv[1], "broadcast");
    lws_set_log_level(LLL_ERR, NULL);
    const struct lws_protocols protocols[] = {
        {"", callback, sizeof(session), 0, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN, .iface = "127.0.0.1", .protocols = protocols, .pt_serv_buf_size = BUFFER,
        .gid = -1, .uid = -1,
        .options = LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
    };
    struct lws_context *context = lws_create_context(&info);
    info.port = 0;
    struct lws_vhost *host = context ? lws_create_vhost(context, &info) : NULL;
    if (!host) return 1;
    printf("%d\n", lws_get_vhost_listen_port(host));
    fflush(stdout);
    for (;;) lws_service(context, 0);
}
