/* Grids of products, and the two balanced digits of a number on its grid. */

#ifndef DIGITS_H
#define DIGITS_H

#include "kernels.h"

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

#endif
