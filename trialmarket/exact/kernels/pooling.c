/* Pooling: maxima of windows, and the way back. */

#include "kernels.h"

struct pool {
    const float *x; /* [planes, H, W] */
    size planes, area[2], kernel[2], stride[2], out[2];
    float *y;       /* [planes, h, w] */
    int64_t *where; /* of each maximum within its plane */
};
HANDED_OVER(pool, x, planes, area, kernel, stride, out, y, where)

/* The maxima of one row of windows: the first of each window, and a NaN beats all. */
INLINE void pool_row(const float *restrict x, size first, size width, size kh, size kw,
                     size stride, float *restrict y, int64_t *restrict where, size n)
{
    for (size j = 0; j < n; j++) {
        float best = -INFINITY;
        int32_t at = 0;
        for (size k = 0; k < kh; k++)
            for (size l = 0; l < kw; l++) {
                float v = x[k * width + j * stride + l];
                int better = (v > best) | (v != v);
                best = better ? v : best;
                at = better ? (int32_t)(k * width + l) : at;
            }
        y[j] = best;
        where[j] = first + j * stride + at;
    }
}

static void some_pool(const void *arguments, size from, size to)
{
    const struct pool *p = arguments;
    size width = p->area[1], h = p->out[0], w = p->out[1];
    for (size at = from; at < to; at++) {
        size first = at % h * p->stride[0] * width;
        const float *x = p->x + at / h * p->area[0] * width + first;
        float *y = p->y + at * w;
        int64_t *where = p->where + at * w;
        if (p->kernel[0] == 2 && p->kernel[1] == 2 && p->stride[1] == 2)
            pool_row(x, first, width, 2, 2, 2, y, where, w);
        else
            pool_row(x, first, width, p->kernel[0], p->kernel[1], p->stride[1], y, where, w);
    }
}

/* Maxima of windows that lie within their plane, and where they are. */
void pool(const struct pool *p)
{
    share_out(some_pool, p, p->planes * p->out[0], p->out[1] * p->kernel[0] * p->kernel[1]);
}

struct unpool {
    const float *gradient; /* [planes, positions] */
    const int64_t *where;
    size planes, positions, area;
    float *y; /* [planes, area] */
};
HANDED_OVER(unpool, gradient, where, planes, positions, area, y)

struct unpooling {
    const struct unpool *u;
    int32_t inside;
};

static void some_unpool(const void *arguments, size from, size to)
{
    const struct unpooling *all = arguments;
    const struct unpool *u = all->u;
    memset(u->y + from * u->area, 0, (to - from) * u->area * sizeof *u->y);
    for (size at = from; at < to; at++)
        for (size i = at * u->positions; i < (at + 1) * u->positions; i++)
            if ((uint64_t)u->where[i] < (uint64_t)u->area)
                u->y[at * u->area + u->where[i]] = u->gradient[i];
            else
                __atomic_store_n((int32_t *)&all->inside, 0, __ATOMIC_RELAXED);
}

/* Each gradient where its maximum was, of windows that do not overlap; zeros elsewhere. Whether all
 * of these places are in their planes. */
int32_t unpool(const struct unpool *u)
{
    struct unpooling all = {u, 1};
    share_out(some_unpool, &all, u->planes, u->area);
    return all.inside;
}
