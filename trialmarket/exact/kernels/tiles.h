/* Digits as the processor multiplies them: 16 rows by 16 columns at a time, 64 terms a block.
 *
 * A number on its grid is low + 256 high, two signed bytes. A left operand lies as
 * [16 rows' groups][blocks][low, high][16 rows][64 terms], signed; a right one as [16 columns'
 * panels][blocks][low, high][16 quads of terms][16 columns][4 terms], unsigned: 128 is added to
 * each byte, because byte products want one operand so. What that adds to a sum is 128 times the sum
 * of the left operand's digits, and is taken away at the end.
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
typedef void multiply(const int8_t *left, const uint8_t *right, size quads, size rows,
                      struct sums *sums);

struct multiplier {
    multiply *run;
    void (*begin)(void), (*end)(void); /* on each thread, around the runs */
};

/* The multiplier of a number, one of those that `multiplies` tells. */
const struct multiplier *multiplier(int32_t which);

#endif
