/* What the messages of the benchmarks say: a fixed set for each kind and size, the same in every run and for
 * every client. Each has its sequence number in it, in hex, so that what is lost or reordered shows, and so
 * that numbers of one width sort as the messages do. */
#ifndef PAYLOADS_H
#define PAYLOADS_H

#include <stddef.h>
#include <stdint.h>

enum { DIGITS = 16 };

typedef struct payloads {
    char kind[16];
    size_t size;
    /* How many there are; message N has the bytes of payload N % count, but for its own number. */
    size_t count;
    /* Where the number is in each. */
    size_t number_at;
    char *bytes;
    struct payloads *next;
} payloads;

/* The set for "text", "utf8", "json" or "binary" messages of `size` bytes, made on first use; NULL when there
 * is none. */
const payloads *payloads_of(const char *kind, size_t size);

const char *payload(const payloads *set, uint64_t sequence);

/* Writes the number of a message into its bytes. */
void put_number(char *at, uint64_t sequence);

#endif
