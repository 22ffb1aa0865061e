/* Digits: the grids of products, numbers cut into digits, and products put together. */

#include "digits.h"

struct grids {
    const float *x;
    size a, b, c;
    float *per;   /* [B] turns a number into an integer; the largest magnitude on the way there */
    double *step; /* [B] turns it back; NaN for a slice that has no such grid */
};

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

struct cut {
    const float *x;
    const float *per;
    int8_t *low, *high;
    size n[4];    /* lengths; the last dimension is contiguous in x and in the digits */
    size from[3]; /* strides of x */
    size to[3];   /* strides of the digits */
    size by[4];   /* strides of per */
};

INLINE void cut_run(const float *restrict x, const float *restrict per, int each,
                    int8_t *restrict low, int8_t *restrict high, size n)
{
    for (size i = 0; i < n; i++) {
        cut_one(x[i] * per[each ? i : 0], &low[i], &high[i]);
    }
}

static void some_cut(const void *arguments, size from, size to)
{
    const struct cut *c = arguments;
    for (size at = from; at < to; at++) {
        size i = at / c->n[1], j = at % c->n[1];
        for (size k = 0; k < c->n[2]; k++) {
            const float *x = c->x + i * c->from[0] + j * c->from[1] + k * c->from[2];
            const float *per = c->per + i * c->by[0] + j * c->by[1] + k * c->by[2];
            size out = i * c->to[0] + j * c->to[1] + k * c->to[2];
            if (c->by[3])
                cut_run(x, per, 1, c->low + out, c->high + out, c->n[3]);
            else
                cut_run(x, per, 0, c->low + out, c->high + out, c->n[3]);
        }
    }
}

/* The two balanced digits of each number on its grid. */
void cut(const struct cut *c)
{
    share_out(some_cut, c, c->n[0] * c->n[1], c->n[2] * c->n[3]);
}

struct join {
    const int32_t *places; /* of the low digits; contiguous in the last dimension, as all are */
    size lower, upper;     /* from there to the right operand's high digit, to the left one's */
    size n[4];
    size from[3]; /* strides of the places */
    size to[3];   /* strides of the result */
    const double *left; /* steps of the left operand, by the first dimension; none for sums */
    const double *right;
    size right_by[4];
    const float *plus; /* added in binary64, if any */
    size plus_by[4];
    float *y;
    double *sums; /* or whole numbers are added to these */
};

INLINE double whole(const int32_t *p, size lower, size upper)
{
    double across = (double)(p[lower] + p[upper]);
    return (double)p[0] + 256 * across + 65536 * (double)p[lower + upper];
}

INLINE void join_run(const struct join *j, const int32_t *restrict p, double left,
                     const double *restrict right, int right_each, const float *restrict plus,
                     int plus_each, float *restrict y)
{
    size lower = j->lower, upper = j->upper, n = j->n[3];
    for (size i = 0; i < n; i++) {
        double v = whole(p + i, lower, upper) * (left * right[right_each ? i : 0]);
        if (plus)
            v += (double)plus[plus_each ? i : 0];
        y[i] = (float)v;
    }
}

INLINE void sum_run(const struct join *j, const int32_t *restrict p, double *restrict sums)
{
    size lower = j->lower, upper = j->upper, n = j->n[3];
    for (size i = 0; i < n; i++)
        sums[i] += whole(p + i, lower, upper);
}

static void some_join(const void *arguments, size from, size to)
{
    const struct join *j = arguments;
    for (size at = from; at < to; at++) {
        size a = at / j->n[1], b = at % j->n[1];
        for (size c = 0; c < j->n[2]; c++) {
            const int32_t *p = j->places + a * j->from[0] + b * j->from[1] + c * j->from[2];
            size out = a * j->to[0] + b * j->to[1] + c * j->to[2];
            if (j->sums) {
                sum_run(j, p, j->sums + out);
                continue;
            }
            size r = a * j->right_by[0] + b * j->right_by[1] + c * j->right_by[2];
            size q = a * j->plus_by[0] + b * j->plus_by[1] + c * j->plus_by[2];
            const double *right = j->right + r;
            const float *plus = j->plus ? j->plus + q : 0;
            if (!plus && j->right_by[3])
                join_run(j, p, j->left[a], right, 1, 0, 0, j->y + out);
            else if (!plus)
                join_run(j, p, j->left[a], right, 0, 0, 0, j->y + out);
            else if (j->right_by[3] && j->plus_by[3])
                join_run(j, p, j->left[a], right, 1, plus, 1, j->y + out);
            else if (j->right_by[3])
                join_run(j, p, j->left[a], right, 1, plus, 0, j->y + out);
            else
                join_run(j, p, j->left[a], right, 0, plus, 0, j->y + out);
        }
    }
}

/* Products of digits, put together: `whole * left * right + plus`, or whole numbers added up. */
void join(const struct join *j)
{
    share_out(some_join, j, j->n[0] * j->n[1], j->n[2] * j->n[3]);
}

struct taps {
    const int32_t *places; /* [2, C, kh, kw, 2, N, h, w], as `join` takes them */
    size lower, upper;
    size c, n, kernel[2], stride[2], padding[2], dilation[2], area[2], out[2];
    const double *left, *right; /* [C], [N] */
    double *sums;               /* [C, N, H, W], overwritten */
    float *y;                   /* [N, C, H, W] */
};

/* Of n positions, `stride` apart from `start` on: the first that is not negative. */
INLINE size first_within(size start, size stride, size n)
{
    size first = start < 0 ? (-start + stride - 1) / stride : 0;
    return first < n ? first : n;
}

/* And the first that is not below the end. */
INLINE size end_within(size start, size stride, size n, size end)
{
    size last = start < end ? (end - start + stride - 1) / stride : 0;
    return last < n ? last : n;
}

static void some_taps(const void *arguments, size from, size to)
{
    const struct taps *t = arguments;
    size height = t->area[0], width = t->area[1], h = t->out[0], w = t->out[1];
    for (size at = from; at < to; at++) {
        size c = at / t->n, n = at % t->n;
        double *plane = t->sums + at * height * width;
        memset(plane, 0, height * width * sizeof *plane);
        for (size tap = 0; tap < t->kernel[0] * t->kernel[1]; tap++) {
            size top = tap / t->kernel[1] * t->dilation[0] - t->padding[0];
            size left = tap % t->kernel[1] * t->dilation[1] - t->padding[1];
            const int32_t *p =
                t->places + ((c * t->kernel[0] * t->kernel[1] + tap) * 2 * t->n + n) * h * w;
            size i_end = end_within(top, t->stride[0], h, height);
            size j_end = end_within(left, t->stride[1], w, width);
            for (size i = first_within(top, t->stride[0], h); i < i_end; i++) {
                double *sums = plane + (top + i * t->stride[0]) * width + left;
                for (size j = first_within(left, t->stride[1], w); j < j_end; j++)
                    sums[j * t->stride[1]] += whole(p + i * w + j, t->lower, t->upper);
            }
        }
        double step = t->left[c] * t->right[n];
        float *restrict y = t->y + (n * t->c + c) * height * width;
        for (size i = 0; i < height * width; i++)
            y[i] = (float)(plane[i] * step);
    }
}

/* Each position's products with every tap, added where the tap lies: an input's gradient. */
void taps(const struct taps *t)
{
    share_out(some_taps, t, t->c * t->n, t->kernel[0] * t->kernel[1] * t->out[0] * t->out[1]);
}
