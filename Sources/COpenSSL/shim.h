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

#endif
