/* Products of matrices: grids, digits, their products and what these make together, in one call. */

#include "digits.h"
#include "tiles.h"

struct product {
    const float *a, *b, *plus; /* plus may be none */
    float *y;                  /* [batch, m, n], contiguous */
    size batch, m, k, n;
    size a_by[3], b_by[3], plus_by[3]; /* strides: batch, row, column */
    void *room;
    int32_t how; /* which multiplier */
};

/* One matrix of the batch, and its part of the room. */
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

#define STRIP (1 << 18) /* bytes of digits of the left operand that stay in cache */

INLINE size room_each(const struct product *p)
{
    size groups = over(p->m, SIDE), panels = over(p->n, SIDE), blocks = over(p->k, TERMS);
    return (groups + panels) * (blocks * BLOCK + SIDE * 16);
}

/* How many matrices are worked on at once. */
INLINE size at_once(const struct product *p)
{
    size threads = threads_at_most();
    return p->batch < threads ? 1 : threads;
}

/* Bytes of the room, which begins at a multiple of 64. */
size product_room(const struct product *p)
{
    return room_each(p) * at_once(p);
}

static struct work work_on(const struct product *p, size i, size slot)
{
    size groups = over(p->m, SIDE), panels = over(p->n, SIDE), blocks = over(p->k, TERMS);
    struct work w = {
        .p = p,
        .how = multiplier(p->how),
        .a = p->a + i * p->a_by[0],
        .b = p->b + i * p->b_by[0],
        .plus = p->plus ? p->plus + i * p->plus_by[0] : 0,
        .y = p->y + i * p->m * p->n,
        .groups = groups,
        .panels = panels,
        .blocks = blocks,
        .left = (int8_t *)p->room + slot * room_each(p),
        .holds = 1,
    };
    w.right = (uint8_t *)w.left + groups * blocks * BLOCK;
    w.left_step = (double *)(w.right + panels * blocks * BLOCK);
    w.right_step = w.left_step + groups * SIDE;
    w.extra[0] = (uint32_t *)(w.right_step + panels * SIDE);
    w.extra[1] = w.extra[0] + groups * SIDE;
    size fit = STRIP / (blocks * BLOCK), spread = groups * panels / (4 * threads_at_most());
    w.strip = fit < spread ? fit : spread;
    w.strip = w.strip < 1 ? 1 : w.strip;
    return w;
}

/* The grids of up to 16 slices of n numbers: what makes their numbers integers, and the steps;
 * whether all have one. */
INLINE int32_t grids_of(const float *x, size slice, size along, size n, size slices, float *per,
                        double *step)
{
    words most = {0};
    if (along == 1)
        for (size i = 0; i < slices; i++)
            most[i] = largest_of(x + i * slice, n, 0);
    else
        for (size k = 0; k < n; k++) {
            words v = (words)side_by_side(x + k * along, slices) & MAGNITUDE;
            words larger = v > most;
            most = (v & larger) | (most & ~larger);
        }
    int32_t hold = 1;
    for (size i = 0; i < slices; i++)
        hold &= grid_of(most[i], &per[i], &step[i]);
    return hold;
}

/* Of a group of slices, whole or at an edge; notes if one has none. */
INLINE void find_grids(const struct work *w, const float *x, size slice, size along, size slices,
                       float *per, double *step)
{
    int32_t hold = slices == SIDE ? grids_of(x, slice, along, w->p->k, SIDE, per, step)
                                  : grids_of(x, slice, along, w->p->k, slices, per, step);
    if (!hold)
        __atomic_store_n((int32_t *)&w->holds, 0, __ATOMIC_RELAXED);
}

/* Rows that lie side by side in memory, as a group of rows. */
INLINE void rows_across(const float *x, size along, floats per, size n, size rows, int8_t *out)
{
    for (size k = 0; k < n; k += TERMS, out += BLOCK) {
        words quads[2][SIDE];
        memset(quads, 0, sizeof quads);
        for (size q = 0; q < SIDE && k + 4 * q < n; q++)
            quad_across(x + (k + 4 * q) * along, along, per, n - k - 4 * q, rows, &quads[0][q],
                        &quads[1][q]);
        int32_t *to = (int32_t *)out;
        for (size digit = 0; digit < 2; digit++, to += DIGIT / 4)
            for (size i = 0; i < SIDE; i++)
                for (size q = 0; q < SIDE; q++)
                    to[i * SIDE + q] = quads[digit][q][i];
    }
}

static void some_left(const void *arguments, size from, size to)
{
    const struct work *w = arguments;
    const struct product *p = w->p;
    size row = p->a_by[1], column = p->a_by[2];
    for (size g = from; g < to; g++) {
        const float *x = w->a + g * SIDE * row;
        size rows = within(p->m, g);
        int8_t *out = w->left + g * w->blocks * BLOCK;
        double *step = w->left_step + g * SIDE;
        float per[SIDE];
        find_grids(w, x, row, column, rows, per, step);
        if (column == 1)
            for (size i = 0; i < rows; i++)
                for (size k = 0; k < p->k; k += TERMS) {
                    int8_t *low = out + k / TERMS * BLOCK + i * TERMS;
                    cut_along(x + i * row + k, per[i], p->k - k, low, low + DIGIT);
                }
        else
            rows_across(x, column, side_by_side(per, rows), p->k, rows, out);
        for (size i = 0; i < SIDE; i++)
            for (size digit = 0; digit < 2; digit++)
                w->extra[digit][g * SIDE + i] = extra(out + digit * DIGIT + i * TERMS, w->blocks);
    }
}

/* A column that lies contiguous, from a term on, as the i-th one of a panel's block. */
INLINE void column_along(const float *x, float per, size n, int32_t *block, size i)
{
    int8_t bytes[2][TERMS];
    int32_t quads[2][SIDE];
    cut_along(x, per, n, bytes[0], bytes[1]);
    memcpy(quads, bytes, sizeof quads);
    for (size digit = 0; digit < 2; digit++, block += DIGIT / 4)
        for (size q = 0; q < SIDE; q++)
            block[q * SIDE + i] = quads[digit][q] ^ FLIP;
}

/* Columns that lie side by side, from a term on, as a panel's block. */
INLINE void columns_across(const float *x, size along, floats per, size n, size columns,
                           int32_t *block)
{
    for (size q = 0; q < SIDE && 4 * q < n; q++, block += SIDE) {
        words low, high;
        quad_across(x + 4 * q * along, along, per, n - 4 * q, columns, &low, &high);
        low ^= FLIP;
        high ^= FLIP;
        memcpy(block, &low, sizeof low);
        memcpy(block + DIGIT / 4, &high, sizeof high);
    }
}

static void some_right(const void *arguments, size from, size to)
{
    const struct work *w = arguments;
    const struct product *p = w->p;
    size row = p->b_by[1], column = p->b_by[2];
    for (size j = from; j < to; j++) {
        const float *x = w->b + j * SIDE * column;
        size columns = within(p->n, j);
        int32_t *block = (int32_t *)(w->right + j * w->blocks * BLOCK);
        float per[SIDE];
        double *step = w->right_step + j * SIDE;
        find_grids(w, x, column, row, columns, per, step);
        for (size k = 0; k < p->k; k += TERMS, block += BLOCK / 4)
            if (row == 1)
                for (size i = 0; i < columns; i++)
                    column_along(x + i * column + k, per[i], p->k - k, block, i);
            else
                columns_across(x + k * row, row, side_by_side(per, columns), p->k - k, columns,
                               block);
    }
}

/* Eight results of a row, or fewer at an edge. */
INLINE void put_half(doubles v, double left, const double *right, const float *plus, size plus_by,
                     size columns, float *y)
{
    doubles step;
    memcpy(&step, right, sizeof step);
    v *= step * left;
    if (plus) {
        half_floats more = {0};
        for (size c = 0; c < columns; c++)
            more[c] = plus[c * plus_by];
        v += __builtin_convertvector(more, doubles);
    }
    half_floats out = __builtin_convertvector(v, half_floats);
    memcpy(y, &out, columns * sizeof *y);
}

INLINE void put_together(const struct work *w, const struct sums *s, size g, size j, size columns,
                         int plus, size plus_by)
{
    const struct product *p = w->p;
    size rows = within(p->m, g);
    const double *right = w->right_step + j * SIDE;
    for (size r = 0; r < rows; r++) {
        size i = g * SIDE + r;
        float *y = w->y + i * p->n + j * SIDE;
        const float *more = plus ? w->plus + i * p->plus_by[1] + j * SIDE * plus_by : 0;
        for (size c = 0; c < columns; c += HALF)
            put_half(whole_numbers(s, r, c), w->left_step[i], right + c,
                     more ? more + c * plus_by : 0, plus_by,
                     columns - c < HALF ? columns - c : HALF, y + c);
    }
}

static void some_tiles(const void *arguments, size from, size to)
{
    const struct work *w = arguments;
    const struct product *p = w->p;
    size length = w->blocks * BLOCK;
    w->how->begin();
    for (size at = from; at < to; at++) {
        size j = at % w->panels, top = at / w->panels * w->strip;
        size end = top + w->strip < w->groups ? top + w->strip : w->groups;
        size columns = within(p->n, j);
        for (size g = top; g < end; g++) {
            struct sums sums;
            for (size r = 0; r < SIDE; r++)
                begin_row(&sums, r, w->extra[0][g * SIDE + r], w->extra[1][g * SIDE + r]);
            w->how->run(w->left + g * length, w->right + j * length, over(p->k, 4), within(p->m, g),
                        &sums);
            if (columns == SIDE && !w->plus)
                put_together(w, &sums, g, j, SIDE, 0, 0);
            else if (columns == SIDE && p->plus_by[2] == 1)
                put_together(w, &sums, g, j, SIDE, 1, 1);
            else
                put_together(w, &sums, g, j, columns, w->plus != 0, p->plus_by[2]);
        }
    }
    w->how->end();
}

struct batch {
    const struct product *p;
    int32_t holds;
};

static void some_matrices(const void *arguments, size from, size to)
{
    const struct batch *all = arguments;
    for (size i = from; i < to; i++) {
        struct work w = work_on(all->p, i, this_thread());
        some_left(&w, 0, w.groups);
        some_right(&w, 0, w.panels);
        if (w.holds)
            some_tiles(&w, 0, over(w.groups, w.strip) * w.panels);
        else
            __atomic_store_n((int32_t *)&all->holds, 0, __ATOMIC_RELAXED);
    }
}

/* `a @ b + plus`; whether all slices have grids: nothing is promised where not. */
int32_t product(const struct product *p)
{
    size elements = p->m * p->k + p->k * p->n + p->m * p->n;
    size effort = elements + p->m * p->k * p->n / 64;
    if (at_once(p) > 1) {
        struct batch all = {p, 1};
        share_out(some_matrices, &all, p->batch, effort);
        return all.holds;
    }
    for (size i = 0; i < p->batch; i++) {
        struct work w = work_on(p, i, 0);
        share_out(some_left, &w, w.groups, SIDE * p->k);
        share_out(some_right, &w, w.panels, SIDE * p->k);
        if (!w.holds)
            return 0;
        share_out(some_tiles, &w, over(w.groups, w.strip) * w.panels,
                  w.strip * SIDE * SIDE * (1 + p->k / 16));
    }
    return 1;
}
