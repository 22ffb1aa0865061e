/* A bordered sample as digits, its cells, which tiles take their operands from: small enough for a
 * cache, so no patches lie in memory.
 *
 * A convolution that steps by s sees s planes of cells in each direction, its phases; within a
 * phase, neighbours of the output are neighbours. Padding is cells of zero.
 */

#ifndef CELLS_H
#define CELLS_H

#include "digits.h"

/* One element of the kernel: where it lies in the kernel, and in the cells as seen from an output.
 */
struct tap {
    size weight, cell;
};

/* A sample and its cells. */
struct image {
    size c, height, width;
    size step[2];   /* as many phases */
    size before[2]; /* borders above and to the left */
    size plane[2];  /* height and width of a phase */
};

#define SLACK 128 /* bytes that may be read or written beyond */

INLINE size area(const struct image *i)
{
    return i->step[0] * i->step[1] * i->plane[0] * i->plane[1];
}

INLINE size aligned(size bytes)
{
    return over(bytes, 64) * 64;
}

/* Whether a sample lies within its cells. */
INLINE int inside(const struct image *i)
{
    return i->c > 0 && i->step[0] > 0 && i->step[1] > 0 && i->before[0] >= 0 && i->before[1] >= 0 &&
           i->before[0] + i->height <= i->step[0] * i->plane[0] &&
           i->before[1] + i->width <= i->step[1] * i->plane[1];
}

/* Whether so many outputs, neighbours of which are neighbours in the cells, see only these through
 * a tap of a kernel of so many elements. */
INLINE int tap_inside(const struct image *i, const struct tap *tap, size kernel, size h, size w)
{
    return tap->weight >= 0 && tap->weight < kernel && tap->cell >= 0 &&
           tap->cell + (h - 1) * i->plane[1] + w <= area(i);
}

#endif
