/* The messages of the benchmarks: a fixed set for each kind and size, the same in every run and for
 * every client. Each contains its sequence number in hex, so that a lost or reordered message is noticed, and so
 * that strings of equal width sort like the numbers. */
#ifndef PAYLOADS_H
#define PAYLOADS_H

#include <stddef.h>
#include <stdint.h>

enum { DIGITS = 16 };

typedef struct payloads {
    char kind[16];
    size_t size;
    /* Number of payloads. Message N has the bytes of payload N % count, except for its own number. */
    size_t count;
    /* Offset of the number in each payload. */
    size_t number_at;
    char *bytes;
    struct payloads *next;
} payloads;

/* The set of "text", "utf8", "json" or "binary" messages of `size` bytes, made on first use; NULL for an
 * unknown kind. */
const payloads *payloads_of(const char *kind, size_t size);

const char *payload(const payloads *set, uint64_t sequence);

/* Writes the number of a message into its bytes. */
void put_number(char *at, uint64_t sequence);

#endif
