/* The variants of ws_utf8_prefix, and the choice of the one that runs. The variants with vectors are made from
 * blocks.h, which is included for each vector width; this file has their tables and the instructions that depend on
 * the processor. Pure; called on any thread. */
#include "CUTF8.h"
#include <stdbool.h>
#include <string.h>

static size_t prefix_portable(const uint8_t *bytes, size_t count)
{
    size_t done = 0;
    for (uint64_t word; count - done >= sizeof word; done += sizeof word) {
        memcpy(&word, bytes + done, sizeof word);
        if (word & 0x8080808080808080) break;
    }
    return done;
}

#if defined(__x86_64__) || defined(__AARCH64EL__)

/* Pairs of neighbouring bytes that no UTF-8 text contains (Unicode, table 3-7), in eight sets. Whether a pair is in a
 * set depends on three half bytes: the high and the low half of the first byte, and the high half of the second byte.
 * There is a table for each of the three; its entry has a bit for each set that the half byte allows. The AND of the
 * three entries has the bits of the sets that the pair is in. */
enum {
    STRAY = 1 << 0,         /* 00...7F 80...BF */
    MISSING = 1 << 1,       /* C0...FF 00...7F, C0...FF C0...FF */
    OVERLONG_2 = 1 << 2,    /* C0...C1 80...BF */
    OVERLONG_3 = 1 << 3,    /* E0 80...9F */
    SURROGATE = 1 << 4,     /* ED A0...BF */
    F_8 = 1 << 5,           /* F0 80...8F, overlong; F5...FF 80...8F, above U+10FFFF */
    F_9_TO_B = 1 << 6,      /* F4...FF 90...BF, above U+10FFFF */
    CONTINUATIONS = 1 << 7, /* 80...BF 80...BF: right in a character of 3 or 4 bytes only */
    ANY_LOW = STRAY | MISSING | CONTINUATIONS,
    ANY_CONTINUATION = STRAY | OVERLONG_2 | CONTINUATIONS,
};

static const uint8_t sets_of_first_high[16] = {
    [0x0 ... 0x7] = STRAY,
    [0x8 ... 0xB] = CONTINUATIONS,
    [0xC] = MISSING | OVERLONG_2,
    [0xD] = MISSING,
    [0xE] = MISSING | OVERLONG_3 | SURROGATE,
    [0xF] = MISSING | F_8 | F_9_TO_B,
};

static const uint8_t sets_of_first_low[16] = {
    [0x0] = ANY_LOW | OVERLONG_2 | OVERLONG_3 | F_8,
    [0x1] = ANY_LOW | OVERLONG_2,
    [0x2 ... 0x3] = ANY_LOW,
    [0x4] = ANY_LOW | F_9_TO_B,
    [0x5 ... 0xC] = ANY_LOW | F_8 | F_9_TO_B,
    [0xD] = ANY_LOW | F_8 | F_9_TO_B | SURROGATE,
    [0xE ... 0xF] = ANY_LOW | F_8 | F_9_TO_B,
};

static const uint8_t sets_of_second_high[16] = {
    [0x0 ... 0x7] = MISSING,
    [0x8] = ANY_CONTINUATION | OVERLONG_3 | F_8,
    [0x9] = ANY_CONTINUATION | OVERLONG_3 | F_9_TO_B,
    [0xA ... 0xB] = ANY_CONTINUATION | SURROGATE | F_9_TO_B,
    [0xC ... 0xF] = MISSING,
};

/* Bytes before a byte that decide whether it is right. */
enum { LOOK_BACK = 3 };

/* `count`, for bytes without an error, less the bytes of an incomplete character at their end. */
static inline size_t boundary(const uint8_t *bytes, size_t count)
{
    const uint8_t *end = bytes + count;
    return count - (end[-1] >= 0xC0 ? 1 : 0) - (end[-2] >= 0xE0 ? 2 : 0) - (end[-3] >= 0xF0 ? 3 : 0);
}

typedef uint8_t block_16 __attribute__((vector_size(16)));
typedef uint64_t words_16 __attribute__((vector_size(16)));

#endif

/* look_up_WIDTH: returns the table's entry for each index; 0 for an index above 127. */

#if defined(__x86_64__)
#include <immintrin.h>

typedef uint8_t block_32 __attribute__((vector_size(32)));
typedef uint64_t words_32 __attribute__((vector_size(32)));

#define TARGET_16 __attribute__((target("ssse3")))
#define TARGET_32 __attribute__((target("avx2")))

TARGET_16 static inline block_16 look_up_16(block_16 table, block_16 indices)
{
    return (block_16)_mm_shuffle_epi8((__m128i)table, (__m128i)indices);
}

/* The upper 16 indices use the upper 16 bytes of `tables`. */
TARGET_32 static inline block_32 look_up_32(block_32 tables, block_32 indices)
{
    return (block_32)_mm256_shuffle_epi8((__m256i)tables, (__m256i)indices);
}

#define WIDTH 16
#include "blocks.h"
#define WIDTH 32
#include "blocks.h"

#elif defined(__AARCH64EL__)
#include <arm_neon.h>

#define TARGET_16

static inline block_16 look_up_16(block_16 table, block_16 indices)
{
    return (block_16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)indices);
}

#define WIDTH 16
#include "blocks.h"
#endif

static const ws_utf8_variant variants[] = {
#if defined(__x86_64__)
    {"AVX2", prefix_32},
    {"SSSE3", prefix_16},
#elif defined(__AARCH64EL__)
    {"NEON", prefix_16},
#endif
    {"portable", prefix_portable},
    {NULL, NULL},
};

const ws_utf8_variant *ws_utf8_variants(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2")) return variants + (__builtin_cpu_supports("ssse3") ? 1 : 2);
#endif
    return variants;
}

size_t ws_utf8_prefix(const uint8_t *bytes, size_t count)
{
    return ws_utf8_variants()->prefix(bytes, count);
}
