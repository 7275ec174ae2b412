/* OpenSSL, as far as the module uses it; what its macros hide from Swift. */
#ifndef WS_COPENSSL_H
#define WS_COPENSSL_H

#include <openssl/bio.h>
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

/* Set on a socket BIO while it is given a record that is no data, with kernel TLS: OpenSSL keeps the name to itself,
 * and 0x1000 to 0x4000 for it. */
static const int WS_BIO_FLAGS_KTLS_TX_CTRL_MSG = 0x1000;

/* SHA1 does the same through the providers: its first call loads them and reads OpenSSL's configuration, which takes
 * longer than all else up to the first message. */
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
