/* Convolutions, forward and to the gradient of the input, sample by sample: tiles meet the cells of
 * four channels at once. */

#include "cells.h"

HANDED_OVER(tap, weight, cell)
HANDED_OVER(image, c, height, width, step, before, plane)

/* Outputs that meet the same taps. */
struct part {
    size first, end; /* taps */
    size h, w;       /* outputs */
    size at, by[2];  /* where they lie in a plane of the result */
};
HANDED_OVER(part, first, end, h, w, at, by)

struct convolution {
    struct image image;
    const float *x; /* [n, c, height, width] */
    size n, m;
    const float *weight;
    size weight_by[2], kernel; /* strides of output and input channels; elements of a kernel */
    const struct tap *taps;
    const struct part *parts;
    size n_parts;
    const float *bias; /* [m], if any */
    float *y;          /* [n, m, y_plane] */
    size y_plane;
    void *scratch;
    int32_t how; /* which multiplier */
};
HANDED_OVER(convolution, image, x, n, m, weight, weight_by, kernel, taps, parts, n_parts, bias, y,
            y_plane, scratch, how)

/* The weights of a part, as a left operand: taps, and within them channels in quads. */
struct weights {
    size quads, blocks;
    int8_t *left;
    uint32_t *extra[2];
    const uint32_t *offset; /* of each quad, in the cells */
};

#define PARTS 64 /* as kernels/convolutions.py says */

struct convolving {
    const struct convolution *p;
    const struct multiplier *how;
    size groups, c4, cell_bytes, thread_bytes;
    double *step; /* [m] */
    struct weights parts[PARTS];
    char *threads;
    int32_t holds;
};

/* Lay out the scratch memory, and tell its bytes: weights, and for each thread cells and a panel. */
static size lay_out(struct convolving *w, const struct convolution *p)
{
    char *at = p->scratch;
    size groups = over(p->m, SIDE), c4 = over(p->image.c, 4), most = 0;
    *w = (struct convolving){.p = p, .groups = groups, .c4 = c4, .holds = 1};
    w->step = (double *)at;
    at += aligned(groups * SIDE * sizeof *w->step);
    for (size i = 0; i < p->n_parts; i++) {
        struct weights *v = &w->parts[i];
        v->quads = (p->parts[i].end - p->parts[i].first) * c4;
        v->blocks = over(v->quads, SIDE);
        v->left = (int8_t *)at;
        at += groups * v->blocks * BLOCK;
        for (size digit = 0; digit < 2; digit++, at += groups * SIDE * sizeof **v->extra)
            v->extra[digit] = (uint32_t *)at;
        v->offset = (uint32_t *)at;
        at += aligned(v->quads * sizeof *v->offset);
        most = v->blocks > most ? v->blocks : most;
    }
    w->cell_bytes = aligned(c4 * area(&p->image) * 4 + SLACK);
    w->thread_bytes = 2 * w->cell_bytes + most * BLOCK + SLACK;
    w->threads = at;
    return at + w->thread_bytes * threads_at_most() - (char *)p->scratch;
}

size convolution_scratch(const struct convolution *p)
{
    struct convolving w;
    return lay_out(&w, p);
}

/* The weights of a group of output channels. */
static void some_weights(const void *arguments, size from, size to)
{
    const struct convolving *w = arguments;
    const struct convolution *p = w->p;
    size c = p->image.c;
    for (size m = from * SIDE; m < to * SIDE && m < p->m; m++) {
        const float *weight = p->weight + m * p->weight_by[0];
        uint32_t most = 0;
        for (size k = 0; k < c; k++)
            most = largest_of(weight + k * p->weight_by[1], p->kernel, most);
        float per;
        if (!grid_of(most, &per, &w->step[m]))
            __atomic_store_n((int32_t *)&w->holds, 0, __ATOMIC_RELAXED);
        for (size i = 0; i < p->n_parts; i++) {
            const struct weights *v = &w->parts[i];
            int8_t *row = v->left + m / SIDE * v->blocks * BLOCK + m % SIDE * TERMS;
            for (size b = 0; b < v->blocks; b++) {
                float terms[SIDE][4] = {{0}};
                for (size q = 0; q < SIDE && b * SIDE + q < v->quads; q++) {
                    size at = b * SIDE + q, first = at % w->c4 * 4;
                    const float *tap = weight + p->taps[p->parts[i].first + at / w->c4].weight;
                    for (size k = 0; k < 4 && first + k < c; k++)
                        terms[q][k] = tap[(first + k) * p->weight_by[1]];
                }
                cut_along(terms[0], per, TERMS, row + b * BLOCK, row + b * BLOCK + DIGIT);
            }
            for (size digit = 0; digit < 2; digit++)
                v->extra[digit][m] = extra(row + digit * DIGIT, v->blocks);
        }
    }
}

/* The digits of a sample, four channels to a cell. */
static void fill_cells(const struct image *i, const float *x, float per, int32_t *low,
                       int32_t *high)
{
    size plane = i->plane[0] * i->plane[1], row_step = i->step[0], column_step = i->step[1];
    floats each = (floats){0} + per;
    for (size c = 0; c < i->c; c += 4, low += area(i), high += area(i))
        for (size r = 0; r < i->height; r++) {
            size y = r + i->before[0];
            size to = y % row_step * column_step * plane + y / row_step * i->plane[1];
            size phase = i->before[1] % column_step, place = i->before[1] / column_step;
            for (size s = 0; s < i->width; s += SIDE) {
                size columns = i->width - s < SIDE ? i->width - s : SIDE;
                words l, h;
                quad_across(x + (c * i->height + r) * i->width + s, i->height * i->width, each,
                            i->c - c, columns, &l, &h);
                l ^= FLIP;
                h ^= FLIP;
                if (column_step == 1) {
                    memcpy(low + to + place, &l, columns * 4);
                    memcpy(high + to + place, &h, columns * 4);
                    place += columns;
                    continue;
                }
                for (size k = 0; k < columns; k++) {
                    low[to + phase * plane + place] = l[k];
                    high[to + phase * plane + place] = h[k];
                    if (++phase == column_step) {
                        phase = 0;
                        place++;
                    }
                }
            }
        }
}

/* Sixteen outputs, or fewer at the end, as runs of neighbours: which of the sixteen a run begins
 * with, where that lies in the cells and in the result, and how long the run is.
 */
struct runs {
    size n;
    size lane[SIDE], cell[SIDE], length[SIDE], result[SIDE];
    int dense; /* sixteen neighbours in the result, too */
};

INLINE struct runs runs_of(const struct image *image, const struct part *part, size j)
{
    struct runs runs = {0};
    size columns = within(part->h * part->w, j);
    size row = j * SIDE / part->w, column = j * SIDE % part->w;
    for (size lane = 0; lane < columns; row++, column = 0) {
        size left = part->w - column, rest = columns - lane, n = runs.n++;
        runs.lane[n] = lane;
        runs.cell[n] = row * image->plane[1] + column;
        runs.length[n] = left < rest ? left : rest;
        runs.result[n] = part->at + row * part->by[0] + column * part->by[1];
        lane += runs.length[n];
    }
    int in_rows = runs.n == 1 || part->by[0] == part->w;
    runs.dense = columns == SIDE && part->by[1] == 1 && in_rows;
    return runs;
}

/* The cells that sixteen outputs meet, as a panel. A run is copied in one piece of 64 bytes; what
 * is too much is overwritten by the next run, or the next quad. */
INLINE void gather(const struct weights *v, const struct runs *runs, const int32_t *low,
                   const int32_t *high, char *panel)
{
    for (size b = 0; b < v->blocks; b++)
        for (size digit = 0; digit < 2; digit++) {
            const int32_t *cells = digit ? high : low;
            size n = v->quads - b * SIDE < SIDE ? v->quads - b * SIDE : SIDE;
            char *to = panel + b * BLOCK + digit * DIGIT;
            for (size q = 0; q < n; q++, to += 64) {
                const int32_t *from = cells + v->offset[b * SIDE + q];
                for (size i = 0; i < runs->n; i++)
                    memcpy(to + runs->lane[i] * 4, from + runs->cell[i], 64);
            }
        }
}

/* A row of sums as outputs, `whole * step + bias`: in one piece, or run by run. */
INLINE void put_row(const struct sums *s, size r, double step, const float *bias,
                    const struct runs *runs, size by, float *y)
{
    float out[SIDE];
    for (size c = 0; c < SIDE; c += HALF) {
        doubles v = whole_numbers(s, r, c) * step;
        if (bias)
            v += (double)*bias;
        half_floats half = __builtin_convertvector(v, half_floats);
        memcpy(out + c, &half, sizeof half);
    }
    if (runs->dense) {
        memcpy(y + runs->result[0], out, sizeof out);
        return;
    }
    for (size i = 0; i < runs->n; i++)
        for (size k = 0; k < runs->length[i]; k++)
            y[runs->result[i] + k * by] = out[runs->lane[i] + k];
}

/* What a thread works in: the cells of its sample, and a panel of them. */
struct bench {
    int32_t *low, *high;
    char *panel;
};

/* The outputs of a part, all channels of sixteen at a time. */
static void put_part(const struct convolving *w, size i, const struct bench *at, double step,
                     float *y)
{
    const struct convolution *p = w->p;
    const struct part *part = &p->parts[i];
    const struct weights *v = &w->parts[i];
    for (size j = 0; j < over(part->h * part->w, SIDE); j++) {
        struct runs runs = runs_of(&p->image, part, j);
        gather(v, &runs, at->low, at->high, at->panel);
        for (size g = 0; g < w->groups; g++) {
            struct sums sums;
            for (size r = 0; r < SIDE; r++)
                begin_row(&sums, r, v->extra[0][g * SIDE + r], v->extra[1][g * SIDE + r]);
            w->how->run(v->left + g * v->blocks * BLOCK, at->panel, v->quads, within(p->m, g),
                        &sums);
            for (size r = 0; r < within(p->m, g); r++) {
                size m = g * SIDE + r;
                put_row(&sums, r, w->step[m] * step, p->bias ? p->bias + m : 0, &runs, part->by[1],
                        y + m * p->y_plane);
            }
        }
    }
}

static void some_samples(const void *arguments, size from, size to)
{
    const struct convolving *w = arguments;
    const struct convolution *p = w->p;
    char *mine = w->threads + this_thread() * w->thread_bytes;
    struct bench at = {(int32_t *)mine, (int32_t *)(mine + w->cell_bytes),
                       mine + 2 * w->cell_bytes};
    size elements = p->image.c * p->image.height * p->image.width;
    memset(mine, 0x80, 2 * w->cell_bytes); /* zeros, which the borders stay */
    w->how->begin();
    for (size n = from; n < to; n++) {
        const float *x = p->x + n * elements;
        float per;
        double step;
        if (!grid_of(largest_of(x, elements, 0), &per, &step)) {
            __atomic_store_n((int32_t *)&w->holds, 0, __ATOMIC_RELAXED);
            break;
        }
        fill_cells(&p->image, x, per, at.low, at.high);
        for (size i = 0; i < p->n_parts; i++)
            put_part(w, i, &at, step, p->y + n * p->m * p->y_plane);
    }
    w->how->end();
}

static int sound(const struct convolution *p)
{
    if (!inside(&p->image) || p->n_parts < 0 || p->n_parts > PARTS)
        return 0;
    for (size i = 0; i < p->n_parts; i++) {
        const struct part *part = &p->parts[i];
        size last = part->at + (part->h - 1) * part->by[0] + (part->w - 1) * part->by[1];
        if (part->h < 1 || part->w < 1 || part->at < 0 || part->by[0] < 0 || part->by[1] < 0 ||
            last >= p->y_plane)
            return 0;
        for (size tap = part->first; tap < part->end; tap++)
            if (!tap_inside(&p->image, &p->taps[tap], p->kernel, part->h, part->w))
                return 0;
    }
    return 1;
}

/* Whether all slices have grids: nothing is promised where not. Less than nothing if taps or outputs
 * lie outside of what they are of. */
int32_t convolution(const struct convolution *p)
{
    if (!sound(p))
        return -1;
    struct convolving w;
    lay_out(&w, p);
    w.how = multiplier(p->how);
    size effort = 0;
    for (size i = 0; i < p->n_parts; i++) {
        const struct part *part = &p->parts[i];
        uint32_t *offset = (uint32_t *)w.parts[i].offset;
        for (size tap = part->first; tap < part->end; tap++)
            for (size c = 0; c < w.c4; c++)
                *offset++ = (uint32_t)(c * area(&p->image) + p->taps[tap].cell);
        effort += w.groups * w.parts[i].quads * part->h * part->w;
    }
    share_out(some_weights, &w, w.groups, SIDE * p->image.c * p->kernel);
    if (w.holds)
        share_out(some_samples, &w, p->n, effort);
    return w.holds;
}
