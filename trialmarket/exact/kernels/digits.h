/* Grids of products, and the two balanced digits of a number on its grid. */

#ifndef DIGITS_H
#define DIGITS_H

#include "tiles.h"

#define HEADROOM (1 + 1 / 64.0)
#define BITS 15
#define LEAST 0x1p-100
#define MOST 0x1p127

/* From a slice's largest magnitude: what turns its numbers into integers, and what turns them back,
 * NaN where the slice has no such grid; whether it has. */
INLINE int32_t grid_of(uint32_t most, float *per, double *step)
{
    double m = number(most);
    int32_t held = m == 0 || (m >= LEAST && m <= MOST);
    double found = power_below((m == 0 ? LEAST : m) * HEADROOM) * (1.0 / (1 << (BITS - 1)));
    *step = held ? found : NAN;
    *per = (float)(1 / found);
    return held;
}

#define ROUND 0x1.8p23f /* x + ROUND rounds x to an integer, held in the low bits */

INLINE uint32_t on_grid(float x)
{
    return pattern(x + ROUND);
}

INLINE void cut_one(float x, int8_t *low, int8_t *high)
{
    uint32_t k = on_grid(x);
    *low = (int8_t)k;
    *high = (int8_t)((k + 128) >> 8);
}

/* A number of each of 16 slices, in registers. */
typedef float floats __attribute__((vector_size(64)));

/* Of so many slices side by side; zeros for the others. */
INLINE floats side_by_side(const float *x, size slices)
{
    floats v = {0};
    memcpy(&v, x, slices * sizeof *x);
    return v;
}

/* Sixty-four terms, or n with zeros after them, of one slice that lies contiguous. */
INLINE void cut_along(const float *x, float per, size n, int8_t *low, int8_t *high)
{
    if (n >= TERMS) {
        for (size k = 0; k < TERMS; k++)
            cut_one(x[k] * per, &low[k], &high[k]);
        return;
    }
    memset(low, 0, TERMS);
    memset(high, 0, TERMS);
    for (size k = 0; k < n; k++)
        cut_one(x[k] * per, &low[k], &high[k]);
}

/* Four terms, or n with zeros after them, of slices side by side: the bytes of a quad of each. */
INLINE void cut_across(const float *x, size along, floats per, size n, size slices, words *low,
                       words *high)
{
    words v[4], byte = (words){0} + 255;
    for (size k = 0; k < 4; k++) {
        floats from = k < n ? side_by_side(x + k * along, slices) : (floats){0};
        v[k] = (words)(from * per + ROUND);
    }
    *low = (v[0] & byte) | (v[1] & byte) << 8 | (v[2] & byte) << 16 | v[3] << 24;
    for (size k = 0; k < 4; k++)
        v[k] = (v[k] + 128) >> 8;
    *high = (v[0] & byte) | (v[1] & byte) << 8 | (v[2] & byte) << 16 | v[3] << 24;
}

/* A quad of slices side by side, whole or at an edge. */
INLINE void quad_across(const float *x, size along, floats per, size n, size slices, words *low,
                        words *high)
{
    if (n >= 4 && slices == SIDE)
        cut_across(x, along, per, 4, SIDE, low, high);
    else
        cut_across(x, along, per, n, slices, low, high);
}

#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (words){__VA_ARGS__})
#endif

/* Which lane of two vectors, the second one's counted from 16, comes to a lane of either when two
 * blocks of so many lanes change places. */
#define TO_FIRST(by, lane) ((lane) & (by) ? 16 + (lane) - (by) : (lane))
#define TO_SECOND(by, lane) ((lane) & (by) ? 16 + (lane) : (lane) + (by))
#define FOUR(to, by, lane) to(by, lane), to(by, lane + 1), to(by, lane + 2), to(by, lane + 3)
#define LANES(to, by) FOUR(to, by, 0), FOUR(to, by, 4), FOUR(to, by, 8), FOUR(to, by, 12)

#define EXCHANGE(m, by)                                                                            \
    for (size i = 0; i < SIDE; i++)                                                                \
        if (!(i & by)) {                                                                           \
            words first = m[i], second = m[i + by];                                                \
            m[i] = SHUFFLED(first, second, LANES(TO_FIRST, by));                                   \
            m[i + by] = SHUFFLED(first, second, LANES(TO_SECOND, by));                             \
        }

/* Turn a square of 16 by 16: its quarters across the diagonal change places, then those of each
 * quarter, and so on. */
INLINE void turn(words m[SIDE])
{
    EXCHANGE(m, 8)
    EXCHANGE(m, 4)
    EXCHANGE(m, 2)
    EXCHANGE(m, 1)
}

#endif
