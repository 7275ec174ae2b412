/* ws_utf8_prefix with vectors of WIDTH bytes. CUTF8.c includes this file once for each width. */

#define PASTE(name, width) name##_##width
#define EXPAND(name, width) PASTE(name, width)
#define OF_WIDTH(name) EXPAND(name, WIDTH)
#define TARGET OF_WIDTH(TARGET)
#define BLOCK OF_WIDTH(block)

TARGET static inline BLOCK OF_WIDTH(load)(const uint8_t *p)
{
    BLOCK block;
    memcpy(&block, p, sizeof block);
    return block;
}

TARGET static inline bool OF_WIDTH(any)(BLOCK block)
{
    return __builtin_reduce_or((OF_WIDTH(words))block);
}

TARGET static inline BLOCK OF_WIDTH(sets)(const uint8_t table[16], BLOCK halves)
{
    BLOCK tables;
    for (size_t i = 0; i < WIDTH; i += 16) memcpy((uint8_t *)&tables + i, table, 16);
    return OF_WIDTH(look_up)(tables, halves);
}

/* For each byte a value that is not 0 if the byte is wrong after the three bytes before it. */
TARGET static inline BLOCK OF_WIDTH(errors)(BLOCK byte, BLOCK before, BLOCK before_2, BLOCK before_3)
{
    BLOCK pairs = OF_WIDTH(sets)(sets_of_first_high, before >> 4) & OF_WIDTH(sets)(sets_of_first_low, before & 0xF)
                  & OF_WIDTH(sets)(sets_of_second_high, byte >> 4);
    /* The highest bit is set where the third or fourth byte of a character must be. There, and only there, two
     * continuation bytes in a row are right. */
    BLOCK third = __builtin_elementwise_sub_sat(before_2, (BLOCK){0} + (0xE0 - 0x80));
    BLOCK fourth = __builtin_elementwise_sub_sat(before_3, (BLOCK){0} + (0xF0 - 0x80));
    return pairs ^ ((third | fourth) & CONTINUATIONS);
}

/* The rest of ws_utf8_prefix, if the first 16 bytes have no error and there are at least LOOK_BACK + step bytes. */
TARGET static inline size_t OF_WIDTH(check_rest)(const uint8_t *bytes, size_t count, size_t step)
{
    for (size_t done = 16; done < count; done += step) {
        /* The last step overlaps the one before. Marked unlikely, so that the compiler makes a branch: the loads would
         * wait for a conditional move. */
        if (__builtin_expect(done + step > count, 0)) done = count - step;
        const uint8_t *p = bytes + done;
        BLOCK all = OF_WIDTH(load)(p - LOOK_BACK), errors = {0};
        for (size_t i = 0; i < step; i += WIDTH) all |= OF_WIDTH(load)(p + i);
        if (!OF_WIDTH(any)(all & 0x80)) continue; /* ASCII */
        for (size_t i = 0; i < step; i += WIDTH) {
            errors |= OF_WIDTH(errors)(OF_WIDTH(load)(p + i), OF_WIDTH(load)(p + i - 1), OF_WIDTH(load)(p + i - 2),
                                       OF_WIDTH(load)(p + i - 3));
        }
        if (OF_WIDTH(any)(errors)) return boundary(bytes, done);
    }
    return boundary(bytes, count);
}

#if WIDTH == 16

/* Loads 4 to 15 bytes, followed by zeros. */
static inline block_16 load_short(const uint8_t *p, size_t count)
{
    uint64_t low, high = 0;
    if (count < 8) {
        uint32_t first, last;
        memcpy(&first, p, 4);
        memcpy(&last, p + count - 4, 4);
        low = first | (uint64_t)last << 8 * (count - 4);
    } else {
        memcpy(&low, p, 8);
        memcpy(&high, p + count - 8, 8);
        high = high >> 4 * (16 - count) >> 4 * (16 - count); /* in two steps: C does not define a shift by 64 */
    }
    return (block_16)(words_16){low, high};
}

/* Whether the first bytes, 16 at most, have no error. */
TARGET static inline bool starts_valid(const uint8_t *bytes, size_t count)
{
    BLOCK block = count < 16 ? load_short(bytes, count) : load_16(bytes);
    /* Bytes before the first count as zeros, which look_up returns for indices below 0. */
    const BLOCK position = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return !any_16(errors_16(block, look_up_16(block, position - 1), look_up_16(block, position - 2),
                             look_up_16(block, position - 3)));
}

#endif

TARGET static size_t OF_WIDTH(prefix)(const uint8_t *bytes, size_t count)
{
    enum { STEP = 64 };
    if (count < 4 || !starts_valid(bytes, count)) return 0;
    if (count < 16 + LOOK_BACK) return boundary(bytes, count < 16 ? count : 16);
    return count < STEP + LOOK_BACK ? check_rest_16(bytes, count, 16) : OF_WIDTH(check_rest)(bytes, count, STEP);
}

#undef WIDTH
