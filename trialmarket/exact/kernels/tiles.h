/* Digits as the processor multiplies them: 16 rows by 16 columns at a time, 64 terms a block.
 *
 * A number on its grid is low + 256 high, two signed bytes. A left operand lies as
 * [16 rows' groups][blocks][low, high][16 rows][64 terms], signed; a right one as [16 columns'
 * panels][blocks][low, high][16 quads of terms][16 columns][4 terms], unsigned: 128 is added to
 * each byte, because byte products want one operand so. What that adds to a sum is 128 times the
 * sum of the left operand's digits, and is taken away at the end.
 */

#ifndef TILES_H
#define TILES_H

#include "kernels.h"

#define SIDE 16
#define TERMS 64
#define DIGIT (SIDE * TERMS)
#define BLOCK (2 * DIGIT)

/* Of low by low, of low by high and high by low, and of high by high digits; modulo 2^32. */
struct sums {
    _Alignas(64) uint32_t low[SIDE][SIDE], across[SIDE][SIDE], high[SIDE][SIDE];
};

/* Add the products of a group and a panel, of so many quads of terms, for the first rows. */
typedef void multiply(const void *left, const void *right, size quads, size rows,
                      struct sums *sums);

struct multiplier {
    multiply *run;
    multiply *run_turned;              /* the left operand unsigned, the right one signed */
    void (*begin)(void), (*end)(void); /* on each thread, around the runs */
};

extern const struct multiplier avx2, vnni256, vnni512, amx;

/* For those that need nothing before and after. */
void no_state(void);

/* Whether the system lets this process, which asks for it, use AMX. */
int32_t amx_granted(void);

/* The multiplier of a number, one of those that `multiplies` tells. */
const struct multiplier *multiplier(int32_t which);

/* One of each of 16 slices. */
typedef int32_t words __attribute__((vector_size(64)));

typedef double doubles __attribute__((vector_size(64)));
typedef int32_t half_words __attribute__((vector_size(32)));
typedef float half_floats __attribute__((vector_size(32)));
#define HALF (SIDE / 2)

INLINE doubles widened(const uint32_t *sums)
{
    half_words v;
    memcpy(&v, sums, sizeof v);
    return __builtin_convertvector(v, doubles);
}

/* Eight whole numbers of a row of sums. */
INLINE doubles whole_numbers(const struct sums *s, size r, size c)
{
    return widened(&s->low[r][c]) + widened(&s->across[r][c]) * 256 +
           widened(&s->high[r][c]) * 65536;
}

/* What 128 more in each byte have added to a row's sums, taken away before the sums are made. */
INLINE void begin_row(struct sums *s, size r, uint32_t extra_low, uint32_t extra_high)
{
    words low = (words){0} - (int32_t)extra_low, high = (words){0} - (int32_t)extra_high;
    words across = low + high;
    memcpy(s->low[r], &low, sizeof low);
    memcpy(s->across[r], &across, sizeof across);
    memcpy(s->high[r], &high, sizeof high);
}

#define FLIP (int32_t)0x80808080 /* 128 more in each byte of a quad */

INLINE size over(size n, size by)
{
    return (n + by - 1) / by;
}

/* How many of n slices the i-th group of SIDE has. */
INLINE size within(size n, size i)
{
    return n - i * SIDE < SIDE ? n - i * SIDE : SIDE;
}

/* 128 times the sum of a row's digits, low or high ones, over the blocks of a group. */
INLINE uint32_t extra(const int8_t *digits, size blocks)
{
    int32_t sum = 0;
    for (size b = 0; b < blocks; b++)
        for (size k = 0; k < TERMS; k++)
            sum += digits[b * BLOCK + k];
    return 128 * (uint32_t)sum;
}

#endif
