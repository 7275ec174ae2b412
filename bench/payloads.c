/* Makes the messages of the benchmarks; see payloads.h. */
#include "payloads.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

/* xorshift64*: the same numbers in every run. */
static uint32_t random_below(uint32_t limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1D >> 32) * limit >> 32);
}

void put_number(char *at, uint64_t sequence)
{
    static uint16_t pairs[256];
    if (!pairs[1]) {
        static const char hex[] = "0123456789abcdef";
        for (unsigned i = 0; i < 256; i++) memcpy(&pairs[i], (char[]){hex[i >> 4], hex[i & 15]}, 2);
    }
    for (int i = DIGITS / 2 - 1; i >= 0; i--, sequence >>= 8) memcpy(at + 2 * i, &pairs[sequence & 255], 2);
}

static void fill_text(char *at, size_t size)
{
    for (size_t i = 0; i < size; i++) at[i] = (char)('a' + random_below(26));
}

static void fill_binary(char *at, size_t size)
{
    for (size_t i = 0; i < size; i++) at[i] = (char)random_below(256);
}

/* Random non-ASCII characters of 2, 3 and 4 bytes, mixed. */
static void fill_utf8(char *at, size_t size)
{
    while (size) {
        size_t length = 2 + random_below(3);
        if (size < 6) length = size < 5 ? size : 2;
        uint32_t c;
        switch (length) {
        case 2: c = 0xA1 + random_below(0x800 - 0xA1); break;
        case 3: c = random_below(2) ? 0x800 + random_below(0xD800 - 0x800) : 0xE000 + random_below(0x1FFE); break;
        default: c = 0x10000 + random_below(0x100000);
        }
        for (size_t i = length - 1; i; i--, c >>= 6) at[i] = (char)(0x80 | (c & 63));
        at[0] = (char)((length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0) | c);
        at += length;
        size -= length;
    }
}

static const char json_head[] = "{\"id\":\"0000000000000000\",\"items\":[", json_tail[] = "],\"note\":\"";

/* Records of names from a list and numbers, like the response of a web API. */
static void fill_json(char *message, size_t size)
{
    static const char *const names[] = {"amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour"};
    memcpy(message, json_head, sizeof json_head - 1);
    size_t n = sizeof json_head - 1;
    bool first = true;
    for (;;) {
        char record[160], *r = record;
        if (!first) *r++ = ',';
        const char *fields[] = {"{\"name\":\"", names[random_below(8)], "-", names[random_below(8)], "\",\"active\":",
                                random_below(2) ? "true" : "false", ",\"values\":["};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            strcpy(r, fields[i]);
            r += strlen(r);
        }
        for (int i = 0; i < 3; i++) {
            if (i) *r++ = ',';
            for (int digit = 0; digit < 5; digit++) *r++ = (char)(digit == 2 ? '.' : '1' + random_below(9));
        }
        *r++ = ']';
        *r++ = '}';
        size_t length = (size_t)(r - record);
        if (n + length + sizeof json_tail + 2 > size) break;
        memcpy(message + n, record, length);
        n += length;
        first = false;
    }
    memcpy(message + n, json_tail, sizeof json_tail - 1);
    n += sizeof json_tail - 1;
    fill_text(message + n, size - n - 2);
    memcpy(message + size - 2, "\"}", 2);
}

/* The number of payloads is chosen so that the set fits the processor's cache, if possible. */
static size_t count_for(size_t size)
{
    size_t count = ((size_t)256 << 10) / size;
    return count < 4 ? 4 : count > 8192 ? 8192 : count;
}

const payloads *payloads_of(const char *kind, size_t size)
{
    static payloads *all;
    for (payloads *set = all; set; set = set->next) {
        if (set->size == size && !strcmp(set->kind, kind)) return set;
    }
    bool json = !strcmp(kind, "json");
    void (*fill)(char *, size_t) = !strcmp(kind, "text")     ? fill_text
                                   : !strcmp(kind, "binary") ? fill_binary
                                   : !strcmp(kind, "utf8")   ? fill_utf8
                                   : json                    ? fill_json
                                                             : NULL;
    if (!fill || size < (json ? 64 : DIGITS + 2) || size > (size_t)1 << 30) return NULL;
    payloads *set = calloc(1, sizeof *set);
    if (!set) abort();
    strcpy(set->kind, kind);
    set->size = size;
    set->count = count_for(size);
    set->number_at = json ? 7 : 0;
    set->bytes = malloc(set->count * size);
    if (!set->bytes) abort();
    set->next = all;
    all = set;
    state = 0x9E3779B97F4A7C15;
    for (size_t i = 0; i < set->count; i++) {
        char *message = set->bytes + i * size;
        if (json) fill(message, size);
        else fill(message + DIGITS, size - DIGITS);
        put_number(message + set->number_at, i);
    }
    return set;
}

const char *payload(const payloads *set, uint64_t sequence)
{
    return set->bytes + sequence % set->count * set->size;
}
