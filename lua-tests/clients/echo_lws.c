// A client with libwebsockets: echo_lws URL [deflate]. Sends texts and binary messages of the sizes of echo.js, and compares
// each echo; prints how many were right, and the extensions. With CA in the environment, it is the file of the CA that is
// trusted.

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20};
enum { LARGEST = 16 << 20, MESSAGES = 2 * sizeof(sizes) / sizeof(*sizes), RX_BUFFER = 1 << 16 };

static unsigned char *message, *echo;
static unsigned char *frame; // what is sent; libwebsockets masks it in place, and writes the header before it
static size_t echoed;        // bytes of the echo that have come
static int right, over;
static int is_due; // whether the message is still to be sent: libwebsockets also asks for more when it has sent a part
static char extensions[128];

// Messages come in pairs: a text, then as many other bytes.
static size_t size(void) { return sizes[right / 2]; }
static int is_binary(void) { return right % 2; }

static void send_next(struct lws *wsi) {
    // Two bytes for a character of a text; one more byte for an odd size.
    for (size_t i = 0; i < size(); i++) message[i] = is_binary() ? (unsigned char)(i % 251) : i % 2 ? 0xa9 : 0xc3;
    if (!is_binary() && size() % 2) message[size() - 1] = '.';
    memcpy(frame, message, size());
    is_due = 1;
    lws_callback_on_writable(wsi);
}

static int fail(const char *words) {
    fprintf(stderr, "%s (message %d)\n", words, right);
    over = 1;
    return -1;
}

// A part of an echo; returns -1 to close the connection.
static int received(struct lws *wsi, const unsigned char *part, size_t length) {
    if (lws_frame_is_binary(wsi) != is_binary() || length > LARGEST - echoed) return fail("a wrong message came");
    memcpy(echo + echoed, part, length);
    echoed += length;
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) > 0) return 0;
    if (echoed != size() || memcmp(echo, message, echoed)) return fail("an echo is wrong");
    echoed = 0;
    if (++right == MESSAGES) {
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    send_next(wsi);
    return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        lws_hdr_copy(wsi, extensions, sizeof extensions, WSI_TOKEN_EXTENSIONS);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        send_next(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (!is_due) return 0;
        is_due = 0;
        return lws_write(wsi, frame, size(), is_binary() ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < 0 ? -1 : 0;
    case LWS_CALLBACK_CLIENT_RECEIVE: return received(wsi, in, length);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: return fail(in ? in : "no connection");
    case LWS_CALLBACK_CLIENT_CLOSED: over = 1; return 0;
    default: return 0;
    }
}

int main(int argc, char **argv) {
    const struct lws_protocols protocols[] = {{"echo", callback, 0, RX_BUFFER, 0, NULL, 0}, {0}};
    // With context takeover libwebsockets 4.1 aborts when it is to send an empty message.
    const struct lws_extension deflate[] = {
        {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate; client_no_context_takeover"}, {0}};
    const char *scheme, *path, *ca = getenv("CA");
    struct lws_context_creation_info creation = {0};
    struct lws_client_connect_info connection = {0};
    message = malloc(LARGEST);
    echo = malloc(LARGEST);
    frame = (unsigned char *)malloc(LWS_PRE + LARGEST) + LWS_PRE;
    lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
    if (argc < 2 || lws_parse_uri(argv[1], &scheme, &connection.address, &connection.port, &path)) return 2;
    creation.port = CONTEXT_PORT_NO_LISTEN;
    creation.protocols = protocols;
    if (argc > 2) creation.extensions = deflate;
    if (ca) creation.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    creation.client_ssl_ca_filepath = ca;
    connection.context = lws_create_context(&creation);
    if (!connection.context) return 1;
    connection.path = "/";
    connection.host = connection.address;
    if (!strcmp(scheme, "wss")) connection.ssl_connection = LCCSCF_USE_SSL;
    lws_client_connect_via_info(&connection);
    while (!over && lws_service(connection.context, 0) >= 0) {}
    lws_context_destroy(connection.context);
    extensions[strcspn(extensions, ";")] = 0;
    printf("%d %s\n", right, extensions[0] ? extensions : "none");
    return right != MESSAGES;
}
