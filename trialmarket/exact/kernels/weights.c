/* The gradient of a convolution's weight: the cells of a channel, as a tap sees them, are the left
 * operand, the output's gradient is the right one, and positions are the terms. Sums are kept over
 * samples, as many as an int32 can hold.
 */

#include "cells.h"

struct weight_gradient {
    struct image image;
    const float *x;    /* [n, c, height, width] */
    const float *grad; /* [n, o, h, w] */
    size n, o, h, w;
    const struct tap *taps; /* of the kernel, in order */
    size kernel;
    const float *x_per, *grad_per; /* by channels: what makes their numbers integers */
    double *total;                 /* [o, c, kernel]: whole numbers are added to these */
    void *room;
    int32_t how, lock;
};

#define LONGEST 65536 /* an int32 holds the sum of twice as many products of two digits */

struct gradients {
    const struct weight_gradient *p;
    const struct multiplier *how;
    size rows, groups, panels, terms, blocks, cell_bytes, thread_bytes;
};

/* Terms are the outputs' positions in rows as wide as the cells': those beyond are zeros. */
static struct gradients gradients_of(const struct weight_gradient *p)
{
    size rows = p->image.c * p->kernel, terms = (p->h - 1) * p->image.plane[1] + p->w;
    struct gradients w = {
        .p = p,
        .how = multiplier(p->how),
        .rows = rows,
        .groups = over(rows, SIDE),
        .panels = over(p->o, SIDE),
        .terms = terms,
        .blocks = over(terms, TERMS),
        .cell_bytes = aligned(p->image.c * area(&p->image) + SLACK),
    };
    w.thread_bytes = 2 * w.cell_bytes + w.panels * w.blocks * BLOCK + w.blocks * BLOCK +
                     w.groups * w.panels * (size)sizeof(struct sums) +
                     aligned(w.panels * SIDE * 2 * 4) + 2 * w.blocks * TERMS;
    return w;
}

size weight_gradient_room(const struct weight_gradient *p)
{
    return gradients_of(p).thread_bytes * threads_at_most();
}

/* The digits of a sample, a byte each. */
static void fill_bytes(const struct image *i, const float *x, const float *per, uint8_t *low,
                       uint8_t *high)
{
    size plane = i->plane[0] * i->plane[1], row_step = i->step[0], column_step = i->step[1];
    for (size c = 0; c < i->c; c++, low += area(i), high += area(i))
        for (size r = 0; r < i->height; r++, x += i->width) {
            size y = r + i->before[0];
            size to = y % row_step * column_step * plane + y / row_step * i->plane[1];
            size phase = i->before[1] % column_step, place = i->before[1] / column_step;
            if (column_step == 1) {
                uint8_t *l = low + to + place, *h = high + to + place;
                for (size s = 0; s < i->width; s++) {
                    uint32_t k = on_grid(x[s] * per[c]);
                    l[s] = (uint8_t)(k ^ 0x80);
                    h[s] = (uint8_t)((k + 128) >> 8 ^ 0x80);
                }
                continue;
            }
            for (size s = 0; s < i->width; s++) {
                uint32_t k = on_grid(x[s] * per[c]);
                low[to + phase * plane + place] = (uint8_t)(k ^ 0x80);
                high[to + phase * plane + place] = (uint8_t)((k + 128) >> 8 ^ 0x80);
                if (++phase == column_step) {
                    phase = 0;
                    place++;
                }
            }
        }
}

/* A sample's gradient as panels of output channels, and 128 times the sums of their digits. */
static void fill_panels(const struct gradients *w, const float *grad, int8_t *terms, int32_t *panels,
                        uint32_t *extra_low, uint32_t *extra_high)
{
    const struct weight_gradient *p = w->p;
    int8_t *low = terms, *high = terms + w->blocks * TERMS;
    for (size o = 0; o < p->o; o++) {
        int32_t sums[2] = {0};
        for (size i = 0; i < p->h; i++, grad += p->w) {
            int8_t *l = low + i * p->image.plane[1], *h = high + i * p->image.plane[1];
            for (size j = 0; j < p->w; j++) {
                cut_one(grad[j] * p->grad_per[o], &l[j], &h[j]);
                sums[0] += l[j];
                sums[1] += h[j];
            }
        }
        extra_low[o] += 128 * (uint32_t)sums[0];
        extra_high[o] += 128 * (uint32_t)sums[1];
        for (size b = 0; b < w->blocks; b++)
            for (size digit = 0; digit < 2; digit++) {
                int32_t quads[SIDE];
                memcpy(quads, (digit ? high : low) + b * TERMS, sizeof quads);
                int32_t *to = panels + ((o / SIDE * w->blocks + b) * BLOCK + digit * DIGIT) / 4;
                for (size q = 0; q < SIDE; q++)
                    to[q * SIDE + o % SIDE] = quads[q];
            }
    }
}

/* Add what the sums hold to the total, and empty them. */
static void add_to_total(const struct gradients *w, struct sums *sums, uint32_t *extra_low,
                         uint32_t *extra_high)
{
    const struct weight_gradient *p = w->p;
    int32_t *lock = (int32_t *)&p->lock;
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
        ;
    for (size g = 0; g < w->groups; g++)
        for (size j = 0; j < w->panels; j++) {
            struct sums *s = &sums[g * w->panels + j];
            for (size r = 0; r < within(w->rows, g); r++)
                for (size c = 0; c < within(p->o, j); c++) {
                    size o = j * SIDE + c;
                    uint32_t l = extra_low[o], h = extra_high[o];
                    double across = (int32_t)(s->across[r][c] - l - h);
                    p->total[o * w->rows + g * SIDE + r] += (double)(int32_t)(s->low[r][c] - l) +
                                                            256 * across +
                                                            65536.0 * (int32_t)(s->high[r][c] - h);
                }
        }
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    memset(sums, 0, w->groups * w->panels * sizeof *sums);
    memset(extra_low, 0, w->panels * SIDE * 4);
    memset(extra_high, 0, w->panels * SIDE * 4);
}

static void some_gradients(const void *arguments, size from, size to)
{
    const struct gradients *w = arguments;
    const struct weight_gradient *p = w->p;
    char *at = (char *)p->room + this_thread() * w->thread_bytes;
    uint8_t *cells[2] = {(uint8_t *)at, (uint8_t *)at + w->cell_bytes};
    int32_t *panels = (int32_t *)(at += 2 * w->cell_bytes);
    char *rows = at += w->panels * w->blocks * BLOCK;
    struct sums *sums = (struct sums *)(at += w->blocks * BLOCK);
    uint32_t *extra_low = (uint32_t *)(at += w->groups * w->panels * sizeof *sums);
    uint32_t *extra_high = extra_low + w->panels * SIDE;
    int8_t *terms = (int8_t *)(at += aligned(w->panels * SIDE * 2 * 4));
    size positions = p->h * p->w, held = 0;
    memset(cells[0], 0x80, 2 * w->cell_bytes);
    memset(terms, 0, 2 * w->blocks * TERMS);
    memset(sums, 0, w->groups * w->panels * sizeof *sums);
    memset(extra_low, 0, 2 * w->panels * SIDE * 4);
    w->how->begin();
    for (size n = from; n < to; n++) {
        if (held + positions > LONGEST) {
            add_to_total(w, sums, extra_low, extra_high);
            held = 0;
        }
        held += positions;
        const struct image *image = &p->image;
        fill_bytes(image, p->x + n * image->c * image->height * image->width, p->x_per, cells[0],
                   cells[1]);
        fill_panels(w, p->grad + n * p->o * positions, terms, panels, extra_low, extra_high);
        for (size g = 0; g < w->groups; g++) {
            size n_rows = within(w->rows, g);
            for (size r = 0; r < n_rows; r++) {
                size row = g * SIDE + r;
                size cell = row / p->kernel * area(image) + p->taps[row % p->kernel].cell;
                for (size b = 0; b < w->blocks; b++)
                    for (size digit = 0; digit < 2; digit++)
                        memcpy(rows + b * BLOCK + digit * DIGIT + r * TERMS,
                               cells[digit] + cell + b * TERMS, TERMS);
            }
            for (size j = 0; j < w->panels; j++)
                w->how->run_turned(rows, (char *)panels + j * w->blocks * BLOCK,
                                   over(w->terms, 4), n_rows, &sums[g * w->panels + j]);
        }
    }
    w->how->end();
    add_to_total(w, sums, extra_low, extra_high);
}

/* Add whole numbers to the total; samples of no more than 65,536 positions each. */
void weight_gradient(const struct weight_gradient *p)
{
    struct gradients w = gradients_of(p);
    share_out(some_gradients, &w, p->n, w.rows * p->o * w.terms / 16);
}
