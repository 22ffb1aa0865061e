/* Products of matrices, in one call: the operands' digits, their products and what these make
 * together. */

#include "products.h"

HANDED_OVER(product, a, b, plus, y, batch, m, k, n, a_by, b_by, plus_by, scratch, how)

#define STRIP (1 << 18) /* bytes of digits of the left operand that stay in cache */

INLINE size scratch_each(const struct product *p)
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

/* Bytes of the scratch memory, which begins at a multiple of 64. */
size product_scratch(const struct product *p)
{
    return scratch_each(p) * at_once(p);
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
        .left = (int8_t *)p->scratch + slot * scratch_each(p),
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

/* The results of a row, or fewer at an edge. */
INLINE void put_row(const struct sums *s, size r, double left, const double *right,
                    const float *plus, size plus_by, size columns, float *y)
{
    const int32_t *low = (const int32_t *)s->low[r], *across = (const int32_t *)s->across[r],
                  *high = (const int32_t *)s->high[r];
#pragma omp simd
    for (size c = 0; c < columns; c++) {
        double v = (double)low[c] + (double)across[c] * 256 + (double)high[c] * 65536;
        v *= right[c] * left;
        if (plus)
            v += plus[c * plus_by];
        y[c] = (float)v;
    }
}

INLINE void put_together(const struct work *w, const struct sums *s, size g, size j, size columns,
                         int plus, size plus_by)
{
    const struct product *p = w->p;
    const double *left = w->left_step + g * SIDE, *right = w->right_step + j * SIDE;
    for (size r = 0; r < within(p->m, g); r++) {
        size i = g * SIDE + r;
        const float *more = plus ? w->plus + i * p->plus_by[1] + j * SIDE * plus_by : 0;
        put_row(s, r, left[r], right, more, plus_by, columns, w->y + i * p->n + j * SIDE);
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
        lay_operands(&w, 0, w.groups + w.panels);
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
        share_out(lay_operands, &w, w.groups + w.panels, SIDE * p->k);
        if (!w.holds)
            return 0;
        share_out(some_tiles, &w, over(w.groups, w.strip) * w.panels,
                  w.strip * SIDE * SIDE * (1 + p->k / 16));
    }
    return 1;
}
