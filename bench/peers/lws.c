/* libwebsockets' client: its event loop, a large service buffer, UTF-8 checked as in all clients. Several writes
 * per writable callback, as long as the kernel takes them. */
#include "../client.h"
#include <libwebsockets.h>

enum { BUFFER = 256 << 10 };

typedef struct session {
    struct lws *wsi;
    bool has_asked;
    tally received;
    /* a message received in pieces */
    char *message;
    size_t filled, capacity;
} session;

static job j;
static struct lws_context *context;
static struct lws_client_connect_info target;
static session *sessions;
static uint64_t session_count, begun, opened, sent, answered, complete;
static char *output;
static double *times, trip_start;
static long empty;
static meter opening, timing;
static bool ok = true;

/* Reports the result and ends the process without closing handshakes. */
static void finish(void)
{
    meter_stop(&opening);
    meter_stop(&timing);
    if (is_mode(&j, "idle")) {
        report_idle(opened, &opening, empty);
    } else if (is_mode(&j, "roundtrip")) {
        report_roundtrips(times, j.count, &timing, ok);
    } else if (is_mode(&j, "send")) {
        report(j.count, j.count * j.size, &timing, ok);
    } else if (is_mode(&j, "receive")) {
        report_tally(&sessions[0].received, j.size);
    } else {
        uint64_t messages = 0;
        for (uint64_t i = 0; i < session_count; i++) {
            const tally *t = &sessions[i].received;
            messages += t->count;
            ok = ok && t->complete && t->ordered && t->whole;
        }
        report(messages, messages * j.size, &timing, ok);
    }
    fflush(stdout);
    _exit(0);
}

static void open_next(void)
{
    if (begun == session_count) return;
    target.opaque_user_data = &sessions[begun++];
    if (!lws_client_connect_via_info(&target)) fail("can't connect");
}

static bool send_bytes(struct lws *wsi, const char *data, size_t size, enum lws_write_protocol type)
{
    memcpy(output + LWS_PRE, data, size);
    return lws_write(wsi, (unsigned char *)output + LWS_PRE, size, type) >= 0;
}

static bool send_payload(struct lws *wsi, uint64_t n)
{
    return send_bytes(wsi, payload_at(&j, n), j.size, j.binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
}

static void established(void)
{
    opened++;
    if (opened < session_count) {
        open_next();
        return;
    }
    if (is_mode(&j, "idle")) finish();
    timing = meter_start();
    for (uint64_t i = 0; i < session_count; i++) {
        sessions[i].received.timing = timing;
        lws_callback_on_writable(sessions[i].wsi);
    }
}

static bool writable(session *s)
{
    if (is_mode(&j, "roundtrip")) {
        trip_start = now();
        return send_payload(s->wsi, answered);
    }
    if (!is_mode(&j, "send")) {
        if (s->has_asked) return true;
        s->has_asked = true;
        return send_bytes(s->wsi, "go", 2, LWS_WRITE_TEXT);
    }
    while (sent < j.count && !lws_send_pipe_choked(s->wsi)) {
        if (!send_payload(s->wsi, sent)) return false;
        sent++;
    }
    if (sent < j.count) lws_callback_on_writable(s->wsi);
    return true;
}

static void message(session *s, const char *data, size_t size)
{
    if (is_mode(&j, "roundtrip")) {
        times[answered] = now() - trip_start;
        if (size != j.size || memcmp(data, payload_at(&j, answered), size)) ok = false;
        if (++answered == j.count) finish();
        else lws_callback_on_writable(s->wsi);
    } else if (is_mode(&j, "send")) {
        ok = is_done(data, size, j.count);
        finish();
    } else if (tally_take(&s->received, data, size) && ++complete == session_count) {
        finish();
    }
}

/* Joins the pieces of a message, unless it came in one. */
static void receive(session *s, const char *data, size_t size)
{
    bool last = lws_is_final_fragment(s->wsi) && !lws_remaining_packet_payload(s->wsi);
    if (last && !s->filled) {
        message(s, data, size);
        return;
    }
    if (s->filled + size > s->capacity) {
        s->capacity = (s->filled + size + lws_remaining_packet_payload(s->wsi)) * 2;
        s->message = realloc(s->message, s->capacity);
        if (!s->message) abort();
    }
    memcpy(s->message + s->filled, data, size);
    s->filled += size;
    if (!last) return;
    message(s, s->message, s->filled);
    s->filled = 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    (void)user;
    session *s = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        s->wsi = wsi;
        established();
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE: return writable(s) ? 0 : -1;
    case LWS_CALLBACK_CLIENT_RECEIVE: receive(s, in, size); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED: fail("the connection has ended"); return -1;
    default: return 0;
    }
}

int main(int argc, char **argv)
{
    j = read_job(argc, argv);
    if (j.deflates) fail("not done by this client");
    lws_set_log_level(LLL_ERR, NULL);
    const struct lws_protocols protocols[] = {{"", callback, 0, 0, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols, .pt_serv_buf_size = BUFFER, .gid = -1, .uid = -1,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_VALIDATE_UTF8,
    };
    /* Its own loop calls poll for all sockets: for many connections use libev. */
    if (is_mode(&j, "idle") || is_mode(&j, "tick")) info.options |= LWS_SERVER_OPTION_LIBEV;
    context = lws_create_context(&info);
    output = malloc(LWS_PRE + j.size + 2);
    if (!context || !output) abort();
    empty = resident_bytes();
    session_count = is_mode(&j, "idle") ? j.count : is_mode(&j, "tick") ? TICKING : 1;
    sessions = calloc(session_count, sizeof *sessions);
    times = calloc(j.count, sizeof *times);
    if (!sessions || !times) abort();
    for (uint64_t i = 0; i < session_count; i++) sessions[i].received = tally_start(j.count);
    target = (struct lws_client_connect_info){
        .context = context, .address = "127.0.0.1", .port = j.port, .path = j.path, .host = "localhost",
        .origin = "localhost", .ietf_version_or_minus_one = -1, .local_protocol_name = "",
        .ssl_connection = j.secure ? LCCSCF_USE_SSL | LCCSCF_ALLOW_SELFSIGNED | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK |
                                         LCCSCF_ALLOW_INSECURE
                                   : 0,
    };
    opening = meter_start();
    for (int i = 0; i < OPENING_AT_ONCE; i++) open_next();
    for (;;) lws_service(context, 0);
}
