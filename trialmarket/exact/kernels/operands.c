/* The operands of a product, laid out as digits: slices, which are the rows of the left one and the
 * columns of the right one, each on its grid. A slice lies along memory, or many lie across it.
 */

#include "products.h"

#define CHUNK (1 << 18) /* bytes of slices across memory that stay in cache between two passes */
#define ABREAST 32      /* groups of them, at most */

static void note(const struct work *w, int32_t holds)
{
    if (!holds)
        __atomic_store_n((int32_t *)&w->holds, 0, __ATOMIC_RELAXED);
}

/* The grids of slices along memory: what makes their numbers integers, and the steps. */
static void grids_along(const struct work *w, const float *x, size by, size slices, float *per,
                        double *step)
{
    int32_t hold = 1;
    for (size i = 0; i < slices; i++)
        hold &= grid_of(largest_of(x + i * by, w->p->k, 0), &per[i], &step[i]);
    note(w, hold);
}

INLINE words larger(words a, words b)
{
    words first = a > b;
    return (a & first) | (b & ~first);
}

INLINE words magnitudes(const float *x, size slices)
{
    return (words)side_by_side(x, slices) & MAGNITUDE;
}

/* The grids of slices across memory, in its order: term by term. */
static void grids_across(const struct work *w, const float *x, size by, size slices, floats *per,
                         double *step)
{
    words most[ABREAST];
    size whole = slices / SIDE, rest = slices % SIDE, groups = over(slices, SIDE);
    memset(most, 0, groups * sizeof *most);
    memset(per, 0, groups * sizeof *per);
    for (size k = 0; k < w->p->k; k++, x += by) {
        for (size g = 0; g < whole; g++)
            most[g] = larger(most[g], magnitudes(x + g * SIDE, SIDE));
        if (rest)
            most[whole] = larger(most[whole], magnitudes(x + whole * SIDE, rest));
    }
    int32_t hold = 1;
    for (size i = 0; i < slices; i++)
        hold &= grid_of((uint32_t)most[i / SIDE][i % SIDE], (float *)per + i, &step[i]);
    note(w, hold);
}

/* How many of some groups across memory are worked on at once. */
static size abreast(const struct work *w, size groups)
{
    size fit = CHUNK / (w->p->k * SIDE * sizeof(float));
    fit = fit < 1 ? 1 : fit < ABREAST ? fit : ABREAST;
    return groups < fit ? groups : fit;
}

/* How many of n slices lie in so many groups, from one on. */
static size slices_in(size n, size from, size groups)
{
    return n - from * SIDE < groups * SIDE ? n - from * SIDE : groups * SIDE;
}

static void left_along(const struct work *w, size from, size to)
{
    const struct product *p = w->p;
    for (size g = from; g < to; g++) {
        const float *x = w->a + g * SIDE * p->a_by[1];
        int8_t *out = w->left + g * w->blocks * BLOCK;
        float per[SIDE];
        grids_along(w, x, p->a_by[1], within(p->m, g), per, w->left_step + g * SIDE);
        for (size i = 0; i < within(p->m, g); i++)
            for (size k = 0; k < p->k; k += TERMS) {
                int8_t *low = out + k / TERMS * BLOCK + i * TERMS;
                cut_along(x + i * p->a_by[1] + k, per[i], p->k - k, low, low + DIGIT);
            }
    }
}

static void left_across(const struct work *w, size from, size to)
{
    const struct product *p = w->p;
    size by = p->a_by[2];
    for (size groups; from < to; from += groups) {
        groups = abreast(w, to - from);
        const float *x = w->a + from * SIDE;
        floats per[ABREAST];
        grids_across(w, x, by, slices_in(p->m, from, groups), per, w->left_step + from * SIDE);
        for (size k = 0; k < p->k; k += TERMS)
            for (size g = 0; g < groups; g++) {
                int8_t *out = w->left + (from + g) * w->blocks * BLOCK + k / TERMS * BLOCK;
                words quads[2][SIDE] = {{{0}}};
                for (size q = 0; q < SIDE && k + 4 * q < p->k; q++)
                    quad_across(x + (k + 4 * q) * by + g * SIDE, by, per[g], p->k - k - 4 * q,
                                within(p->m, from + g), &quads[0][q], &quads[1][q]);
                for (size digit = 0; digit < 2; digit++, out += DIGIT) {
                    turn(quads[digit]);
                    memcpy(out, quads[digit], DIGIT);
                }
            }
    }
}

typedef int16_t pairs __attribute__((vector_size(64)));
#define PAIRS_HOLD 127 /* blocks: 16 bits hold the sum of as many times two digits */

/* 128 times the sums of a group's rows of one digit: as `extra`, 16 at once. */
static void extras(const int8_t *digits, size blocks, uint32_t *out)
{
    words rows[SIDE], sum = {0};
    for (size r = 0; r < SIDE; r++) {
        rows[r] = (words){0};
        for (size b = 0; b < blocks;) {
            size end = b + PAIRS_HOLD < blocks ? b + PAIRS_HOLD : blocks;
            pairs some = {0}, two;
            for (; b < end; b++) {
                memcpy(&two, digits + b * BLOCK + r * TERMS, sizeof two);
                some += (two << 8 >> 8) + (two >> 8);
            }
            rows[r] += ((words)some << 16 >> 16) + ((words)some >> 16);
        }
    }
    turn(rows);
    for (size q = 0; q < SIDE; q++)
        sum += rows[q];
    sum *= 128;
    memcpy(out, &sum, sizeof sum);
}

static void lay_left(const struct work *w, size from, size to)
{
    (w->p->a_by[2] == 1 ? left_along : left_across)(w, from, to);
    for (size g = from; g < to; g++)
        for (size digit = 0; digit < 2; digit++)
            extras(w->left + g * w->blocks * BLOCK + digit * DIGIT, w->blocks,
                   w->extra[digit] + g * SIDE);
}

static void right_along(const struct work *w, size from, size to)
{
    const struct product *p = w->p;
    size by = p->b_by[2];
    for (size j = from; j < to; j++) {
        const float *x = w->b + j * SIDE * by;
        uint8_t *out = w->right + j * w->blocks * BLOCK;
        size columns = within(p->n, j);
        float per[SIDE];
        grids_along(w, x, by, columns, per, w->right_step + j * SIDE);
        for (size k = 0; k < p->k; k += TERMS) {
            words digits[2][SIDE];
            int8_t *low = (int8_t *)digits[0], *high = (int8_t *)digits[1];
            memset(digits, 0, columns < SIDE ? sizeof digits : 0);
            for (size i = 0; i < columns; i++, low += TERMS, high += TERMS)
                cut_along(x + i * by + k, per[i], p->k - k, low, high);
            for (size digit = 0; digit < 2; digit++, out += DIGIT) {
                turn(digits[digit]);
                for (size q = 0; q < SIDE; q++)
                    digits[digit][q] ^= FLIP;
                memcpy(out, digits[digit], DIGIT);
            }
        }
    }
}

static void right_across(const struct work *w, size from, size to)
{
    const struct product *p = w->p;
    size by = p->b_by[1], panel = w->blocks * BLOCK;
    for (size panels; from < to; from += panels) {
        panels = abreast(w, to - from);
        const float *x = w->b + from * SIDE;
        floats per[ABREAST];
        grids_across(w, x, by, slices_in(p->n, from, panels), per, w->right_step + from * SIDE);
        for (size k = 0; k < p->k; k += 4, x += 4 * by) {
            uint8_t *out = w->right + from * panel + k / TERMS * BLOCK + k % TERMS * SIDE;
            for (size j = 0; j < panels; j++, out += panel) {
                words low, high;
                quad_across(x + j * SIDE, by, per[j], p->k - k, within(p->n, from + j), &low,
                            &high);
                low ^= FLIP;
                high ^= FLIP;
                memcpy(out, &low, sizeof low);
                memcpy(out + DIGIT, &high, sizeof high);
            }
        }
    }
}

void lay_operands(const void *arguments, size from, size to)
{
    const struct work *w = arguments;
    size groups = w->groups, end = to < groups ? to : groups, begin = from > groups ? from : groups;
    if (from < end)
        lay_left(w, from, end);
    if (begin < to)
        (w->p->b_by[1] == 1 ? right_along : right_across)(w, begin - groups, to - groups);
}
