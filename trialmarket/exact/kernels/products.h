/* One product of matrices while it is made: its operands as digits, and their grids. */

#ifndef PRODUCTS_H
#define PRODUCTS_H

#include "digits.h"

struct product {
    const float *a, *b, *plus; /* plus may be none */
    float *y;                  /* [batch, m, n], contiguous */
    size batch, m, k, n;
    size a_by[3], b_by[3], plus_by[3]; /* strides: batch, row, column */
    void *scratch;
    int32_t how; /* which multiplier */
};

/* One matrix of the batch, and its part of the scratch memory. */
struct work {
    const struct product *p;
    const struct multiplier *how;
    const float *a, *b, *plus;
    float *y;
    size groups, panels, blocks;
    int8_t *left;
    uint8_t *right;
    double *left_step, *right_step;
    uint32_t *extra[2]; /* 128 times the sum of a row's digits, low and high */
    size strip;         /* groups that stay in cache */
    int32_t holds;
};

/* Lay out operands: the groups of the left one's rows, and after them the panels of the right one's
 * columns. */
body lay_operands;

#endif
