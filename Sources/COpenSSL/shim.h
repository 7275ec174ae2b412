/* OpenSSL, as far as the module uses it. */
#ifndef WS_COPENSSL_H
#define WS_COPENSSL_H

#include <openssl/evp.h>
#include <openssl/sha.h>

#endif
