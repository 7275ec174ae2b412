/* OpenSSL's headers for WebSocketProtocol (SHA-1) and WebSocketEngine (TLS), and the constants that are macros, which
 * Swift does not import. */
#ifndef WS_COPENSSL_H
#define WS_COPENSSL_H

#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static const uint64_t WS_SSL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t WS_SSL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t WS_SSL_OP_ENABLE_KTLS = SSL_OP_ENABLE_KTLS;
static const unsigned long WS_XN_FLAG_RFC2253 = XN_FLAG_RFC2253;
static const unsigned long WS_ERR_R_MALLOC_FAILURE = ERR_R_MALLOC_FAILURE;

/* OpenSSL's private BIO_FLAGS_KTLS_TX_CTRL_MSG (include/internal/bio.h, OpenSSL 3): with kernel TLS it is set on the
 * BIO while a control record is written. Check it with each new OpenSSL. */
static const int WS_BIO_FLAGS_KTLS_TX_CTRL_MSG = 0x1000;

/* The deprecated functions on purpose: SHA1() goes through the providers, and its first call loads them and reads
 * OpenSSL's configuration, which takes longer than everything else up to the first message. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static inline void ws_sha1(const void *bytes, size_t count, unsigned char digest[SHA_DIGEST_LENGTH])
{
    SHA_CTX context;
    SHA1_Init(&context);
    SHA1_Update(&context, bytes, count);
    SHA1_Final(digest, &context);
}
#pragma GCC diagnostic pop

#endif
