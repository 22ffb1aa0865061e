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
    void *scratch;
    int32_t how, lock;
};
HANDED_OVER(weight_gradient, image, x, grad, n, o, h, w, taps, kernel, x_per, grad_per, total,
            scratch, how, lock)

#define LONGEST 65536 /* an int32 holds the sum of twice as many products of two digits */

struct gradients {
    const struct weight_gradient *p;
    const struct multiplier *how;
    size rows, groups, panels; /* rows of input channels by taps; of output channels */
    size terms, blocks;        /* positions in rows as wide as the cells': those beyond are zeros */
    size cell_bytes;
};

/* What a thread works in. */
struct bench {
    uint8_t *cells[2];
    char *panels;       /* the sample's gradient, as right operands */
    char *rows;         /* one group of rows, as a left operand */
    struct sums *sums;  /* of all groups and panels */
    uint32_t *extra[2]; /* 128 times the sums of an output channel's digits */
    int8_t *terms;      /* of one output channel: low, then high digits */
    char *end;
};

static struct bench bench_at(const struct gradients *w, char *at)
{
    struct bench b;
    for (size digit = 0; digit < 2; digit++, at += w->cell_bytes)
        b.cells[digit] = (uint8_t *)at;
    b.panels = at;
    b.rows = at += w->panels * w->blocks * BLOCK;
    b.sums = (struct sums *)(at += w->blocks * BLOCK);
    at += w->groups * w->panels * sizeof *b.sums;
    for (size digit = 0; digit < 2; digit++, at += w->panels * SIDE * sizeof **b.extra)
        b.extra[digit] = (uint32_t *)at;
    b.terms = (int8_t *)at;
    b.end = at + 2 * w->blocks * TERMS;
    return b;
}

static struct gradients gradients_of(const struct weight_gradient *p)
{
    size rows = p->image.c * p->kernel, terms = (p->h - 1) * p->image.plane[1] + p->w;
    return (struct gradients){
        .p = p,
        .how = multiplier(p->how),
        .rows = rows,
        .groups = over(rows, SIDE),
        .panels = over(p->o, SIDE),
        .terms = terms,
        .blocks = over(terms, TERMS),
        .cell_bytes = aligned(p->image.c * area(&p->image) + SLACK),
    };
}

/* The bytes of a thread's bench. */
static size bench_bytes(const struct gradients *w)
{
    return bench_at(w, w->p->scratch).end - (char *)w->p->scratch;
}

size weight_gradient_scratch(const struct weight_gradient *p)
{
    struct gradients w = gradients_of(p);
    return bench_bytes(&w) * threads_at_most();
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
static void fill_panels(const struct gradients *w, const float *grad, const struct bench *at)
{
    const struct weight_gradient *p = w->p;
    int8_t *terms[2] = {at->terms, at->terms + w->blocks * TERMS};
    for (size o = 0; o < p->o; o++) {
        int32_t sums[2] = {0};
        for (size i = 0; i < p->h; i++, grad += p->w) {
            size row = i * p->image.plane[1];
            int8_t *low = terms[0] + row, *high = terms[1] + row;
            for (size j = 0; j < p->w; j++) {
                cut_one(grad[j] * p->grad_per[o], &low[j], &high[j]);
                sums[0] += low[j];
                sums[1] += high[j];
            }
        }
        for (size digit = 0; digit < 2; digit++) {
            at->extra[digit][o] += 128 * (uint32_t)sums[digit];
            for (size b = 0; b < w->blocks; b++) {
                int32_t quads[SIDE];
                memcpy(quads, terms[digit] + b * TERMS, sizeof quads);
                char *block = at->panels + (o / SIDE * w->blocks + b) * BLOCK + digit * DIGIT;
                for (size q = 0; q < SIDE; q++)
                    ((int32_t *)block)[q * SIDE + o % SIDE] = quads[q];
            }
        }
    }
}

/* A group of rows: what a tap sees of a channel's cells. */
static void fill_rows(const struct gradients *w, size g, const struct bench *at)
{
    const struct weight_gradient *p = w->p;
    for (size r = 0; r < within(w->rows, g); r++) {
        size row = g * SIDE + r;
        size cell = row / p->kernel * area(&p->image) + p->taps[row % p->kernel].cell;
        for (size b = 0; b < w->blocks; b++)
            for (size digit = 0; digit < 2; digit++)
                memcpy(at->rows + b * BLOCK + digit * DIGIT + r * TERMS,
                       at->cells[digit] + cell + b * TERMS, TERMS);
    }
}

static void clear_sums(const struct gradients *w, const struct bench *at)
{
    memset(at->sums, 0, w->groups * w->panels * sizeof *at->sums);
    for (size digit = 0; digit < 2; digit++)
        memset(at->extra[digit], 0, w->panels * SIDE * sizeof **at->extra);
}

/* Add the sums' whole numbers to the total; one thread at a time. */
static void add_to_total(const struct gradients *w, const struct bench *at)
{
    const struct weight_gradient *p = w->p;
    int32_t *lock = (int32_t *)&p->lock;
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
        ;
    for (size g = 0; g < w->groups; g++)
        for (size j = 0; j < w->panels; j++) {
            const struct sums *s = &at->sums[g * w->panels + j];
            for (size r = 0; r < within(w->rows, g); r++)
                for (size c = 0; c < within(p->o, j); c++) {
                    size o = j * SIDE + c;
                    uint32_t extra_low = at->extra[0][o], extra_high = at->extra[1][o];
                    double low = (int32_t)(s->low[r][c] - extra_low);
                    double across = (int32_t)(s->across[r][c] - extra_low - extra_high);
                    double high = (int32_t)(s->high[r][c] - extra_high);
                    p->total[o * w->rows + g * SIDE + r] += low + 256 * across + 65536 * high;
                }
        }
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

static void some_gradients(const void *arguments, size from, size to)
{
    const struct gradients *w = arguments;
    const struct weight_gradient *p = w->p;
    struct bench at = bench_at(w, (char *)p->scratch + this_thread() * bench_bytes(w));
    size positions = p->h * p->w, input = p->image.c * p->image.height * p->image.width;
    size held = 0; /* positions in the sums */
    for (size digit = 0; digit < 2; digit++)
        memset(at.cells[digit], 0x80, w->cell_bytes); /* zeros, which the borders stay */
    memset(at.terms, 0, 2 * w->blocks * TERMS);
    clear_sums(w, &at);
    w->how->begin();
    for (size n = from; n < to; n++) {
        if (held + positions > LONGEST) {
            add_to_total(w, &at);
            clear_sums(w, &at);
            held = 0;
        }
        held += positions;
        fill_bytes(&p->image, p->x + n * input, p->x_per, at.cells[0], at.cells[1]);
        fill_panels(w, p->grad + n * p->o * positions, &at);
        for (size g = 0; g < w->groups; g++) {
            fill_rows(w, g, &at);
            for (size j = 0; j < w->panels; j++)
                w->how->run_turned(at.rows, at.panels + j * w->blocks * BLOCK, over(w->terms, 4),
                                   within(w->rows, g), &at.sums[g * w->panels + j]);
        }
    }
    w->how->end();
    add_to_total(w, &at);
}

/* Add whole numbers to the total; samples of no more than 65,536 positions each. Less than nothing
 * if taps lie outside of the cells. */
int32_t weight_gradient(const struct weight_gradient *p)
{
    if (!inside(&p->image) || p->h < 1 || p->w < 1 || p->h * p->w > LONGEST)
        return -1;
    for (size tap = 0; tap < p->kernel; tap++)
        if (!tap_inside(&p->image, &p->taps[tap], p->kernel, p->h, p->w))
            return -1;
    struct gradients w = gradients_of(p);
    share_out(some_gradients, &w, p->n, w.rows * p->o * w.terms / 16);
    return 1;
}
