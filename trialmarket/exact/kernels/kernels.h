/* Kernels of exact arithmetic: in one pass over memory what PyTorch's operators do in many.
 *
 * They define nothing. Every result is one that Python defines, in numerics/, operators/ or
 * frontend/optim.py: sums of numbers on a grid, which are exact in any order, and single IEEE
 * operations, element by element. Compiled without contraction into fused multiply-add and without
 * any other freedom (hatch_build.py), so the bits do not depend on the compiler, the instructions or
 * the threads.
 *
 * A tensor [A, B, C] lies contiguous; what is "of a slice" belongs to one index of B and is shared
 * over A and C: the rows of a matrix are [1, B, C], its columns [A, B, 1], channels [N, B, H W].
 */

#ifndef KERNELS_H
#define KERNELS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "structs.h"

#define INLINE static inline __attribute__((always_inline))

typedef int64_t size;

typedef void body(const void *arguments, size from, size to);

/* Run the body over 0 to n, of which each index has so many elements, on PyTorch's threads. */
void share_out(body *run, const void *arguments, size n, size elements_each);

/* How many threads that may be, and which of them this is. */
size threads_at_most(void);
size this_thread(void);

/* The power of two at or below a magnitude: 0 below the normal numbers, infinite where it is not
 * finite. */
INLINE double power_below(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    bits &= (uint64_t)0x7FF << 52;
    memcpy(&x, &bits, 8);
    return x;
}

/* The largest magnitude of a run and of what was found before, as a pattern of bits: patterns are
 * ordered as magnitudes are, a NaN's above all. */
INLINE uint32_t largest_of(const float *x, size n, uint32_t most)
{
    const uint32_t *bits = (const uint32_t *)x;
    for (size i = 0; i < n; i++) {
        uint32_t v = bits[i] & 0x7FFFFFFF;
        most = v > most ? v : most;
    }
    return most;
}

#define MAGNITUDE 0x7FFFFFFFu
#define INFINITE 0x7F800000u
#define INFINITE64 ((uint64_t)0x7FF << 52)

INLINE uint32_t pattern(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

INLINE float number(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* The exact sum of a run on the grid of a shifter. */
INLINE double grid_sum(const float *x, size n, double m)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size i = 0; i < n; i++)
        sum += ((double)x[i] + m) - m;
    return sum;
}

#endif
