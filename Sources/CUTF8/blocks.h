/* ws_utf8_prefix by vectors of WIDTH bytes: CUTF8.c includes this for each width that the processor may have. */

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

/* Not 0 for each byte that is wrong after the three before it. */
TARGET static inline BLOCK OF_WIDTH(errors)(BLOCK byte, BLOCK before, BLOCK before_2, BLOCK before_3)
{
    BLOCK pairs = OF_WIDTH(sets)(sets_of_first_high, before >> 4) & OF_WIDTH(sets)(sets_of_first_low, before & 0xF)
                  & OF_WIDTH(sets)(sets_of_second_high, byte >> 4);
    /* The highest bit is set where a character's third or fourth byte has to be: two continuations are right there,
     * and only there. */
    BLOCK third = __builtin_elementwise_sub_sat(before_2, (BLOCK){0} + (0xE0 - 0x80));
    BLOCK fourth = __builtin_elementwise_sub_sat(before_3, (BLOCK){0} + (0xF0 - 0x80));
    return pairs ^ ((third | fourth) & CONTINUATIONS);
}

/* The rest of ws_utf8_prefix, when nothing is wrong with the first 16 bytes and a step fits behind LOOK_BACK. */
TARGET static inline size_t OF_WIDTH(go_on)(const uint8_t *bytes, size_t count, size_t step)
{
    for (size_t done = 16; done < count; done += step) {
        /* The last step overlaps the one before. Said to be rare, this is a jump; the loads would wait for a choice. */
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

/* Four to fifteen bytes, then zeros. */
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
        high = high >> 4 * (16 - count) >> 4 * (16 - count); /* 64 bits at once can't be shifted out */
    }
    return (block_16)(words_16){low, high};
}

/* Whether nothing is wrong with the first bytes, at most 16. */
TARGET static inline bool begins_well(const uint8_t *bytes, size_t count)
{
    BLOCK block = count < 16 ? load_short(bytes, count) : load_16(bytes);
    /* What is before them counts as zeros: that is what indices below 0 give. */
    const BLOCK position = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return !any_16(errors_16(block, look_up_16(block, position - 1), look_up_16(block, position - 2),
                             look_up_16(block, position - 3)));
}

#endif

TARGET static size_t OF_WIDTH(prefix)(const uint8_t *bytes, size_t count)
{
    enum { STEP = 64 };
    if (count < 4 || !begins_well(bytes, count)) return 0;
    if (count < 16 + LOOK_BACK) return boundary(bytes, count < 16 ? count : 16);
    return count < STEP + LOOK_BACK ? go_on_16(bytes, count, 16) : OF_WIDTH(go_on)(bytes, count, STEP);
}

#undef WIDTH
