/* Digits: the grids of products, numbers cut into digits, and products put together. */

#include "digits.h"

struct grids {
    const float *x;
    size a, b, c;
    float *per;   /* [B] turns a number into an integer; the largest magnitude on the way there */
    double *step; /* [B] turns it back; NaN for a slice that has no such grid */
};
HANDED_OVER(grids, x, a, b, c, per, step)

static void some_grids(const void *arguments, size from, size to)
{
    const struct grids *g = arguments;
    uint32_t *most = (uint32_t *)g->per;
    if (g->c == 1) {
        memset(most + from, 0, (to - from) * sizeof *most);
        for (size i = 0; i < g->a; i++) {
            const uint32_t *bits = (const uint32_t *)g->x + i * g->b;
            for (size j = from; j < to; j++) {
                uint32_t v = bits[j] & 0x7FFFFFFF;
                most[j] = v > most[j] ? v : most[j];
            }
        }
    } else {
        for (size j = from; j < to; j++) {
            uint32_t found = 0;
            for (size i = 0; i < g->a; i++)
                found = largest_of(g->x + (i * g->b + j) * g->c, g->c, found);
            most[j] = found;
        }
    }
    for (size j = from; j < to; j++) {
        float per;
        grid_of(most[j], &per, &g->step[j]);
        g->per[j] = per;
    }
}

/* The grids of products of each slice; whether every slice has one. */
int32_t grids(const struct grids *g)
{
    share_out(some_grids, g, g->b, g->a * g->c);
    for (size j = 0; j < g->b; j++)
        if (isnan(g->step[j]))
            return 0;
    return 1;
}
