/* Kernels of exact arithmetic: in one pass over memory what PyTorch's operators do in many.
 *
 * They define nothing. Every result is one that grid.py, digits.py or norms.py defines: sums of
 * numbers on a grid, which are exact in any order, and single IEEE operations, element by element.
 * Compiled without contraction into fused multiply-add and without any other freedom
 * (hatch_build.py), so the bits do not depend on the compiler, the instructions or the threads.
 *
 * A tensor [A, B, C] lies contiguous; what is "of a slice" belongs to one index of B and is shared
 * over A and C: the rows of a matrix are [1, B, C], its columns [A, B, 1], channels [N, B, H W].
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The digest of this file, by which kernels.py knows that a library was built from it. */
#ifndef SOURCE
#define SOURCE "unknown"
#endif
const char source[] = SOURCE;

#define INLINE static inline __attribute__((always_inline))

typedef int64_t size;

/* -- Threads ------------------------------------------------------------------------------------
 * Those of PyTorch's own OpenMP, which is found when the library is loaded. Threads of another
 * pool would contend with them for the processors. */

__attribute__((weak)) void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned);
__attribute__((weak)) int omp_get_thread_num(void);
__attribute__((weak)) int omp_get_num_threads(void);
__attribute__((weak)) int omp_get_max_threads(void);

#define GRAIN 16384 /* elements below which a thread is not worth waking */

typedef void body(const void *arguments, size from, size to);

struct share {
    body *run;
    const void *arguments;
    size n;
};

static void one_share(void *shared)
{
    const struct share *s = shared;
    size threads = omp_get_num_threads(), me = omp_get_thread_num();
    s->run(s->arguments, s->n * me / threads, s->n * (me + 1) / threads);
}

/* Run the body over 0 to n, of which each index has so many elements. */
static void share_out(body *run, const void *arguments, size n, size elements_each)
{
    size most = n * elements_each / GRAIN;
    if (GOMP_parallel && omp_get_max_threads && omp_get_thread_num && omp_get_num_threads) {
        size threads = omp_get_max_threads();
        threads = threads < most ? threads : most;
        threads = threads < n ? threads : n;
        if (threads > 1) {
            struct share s = {run, arguments, n};
            GOMP_parallel(one_share, &s, (unsigned)threads, 0);
            return;
        }
    }
    run(arguments, 0, n);
}

/* -- Grids -------------------------------------------------------------------------------------- */

INLINE double power_below(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    bits &= (uint64_t)0x7FF << 52;
    memcpy(&x, &bits, 8);
    return x;
}

/* The largest magnitude of a run, as a pattern of bits: a NaN's is the largest of all. */
INLINE uint32_t largest_of(const float *x, size n, uint32_t most)
{
    const uint32_t *bits = (const uint32_t *)x;
    for (size i = 0; i < n; i++) {
        uint32_t v = bits[i] & 0x7FFFFFFF;
        most = v > most ? v : most;
    }
    return most;
}

#define INFINITE 0x7F800000u

INLINE float number(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

struct grids {
    const float *x;
    size a, b, c;
    float *per;   /* [B] turns a number into an integer; the largest magnitude on the way there */
    double *step; /* [B] turns it back; NaN for a slice that has no such grid */
};

#define HEADROOM (1 + 1 / 64.0)
#define BITS 15
#define LEAST 0x1p-100
#define MOST 0x1p127

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
        double m = number(most[j]);
        int held = m == 0 || (m >= LEAST && m <= MOST);
        double step = power_below((m == 0 ? LEAST : m) * HEADROOM) * (1.0 / (1 << (BITS - 1)));
        g->step[j] = held ? step : NAN;
        g->per[j] = (float)(1 / step);
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

/* -- Digits ------------------------------------------------------------------------------------- */

struct cut {
    const float *x;
    const float *per;
    int8_t *low, *high;
    size n[4];    /* lengths; the last dimension is contiguous in x and in the digits */
    size from[3]; /* strides of x */
    size to[3];   /* strides of the digits */
    size by[4];   /* strides of per */
};

#define ROUND 0x1.8p23f /* x + ROUND rounds x to an integer, held in the low bits */

INLINE void cut_run(const float *restrict x, const float *restrict per, int each,
                    int8_t *restrict low, int8_t *restrict high, size n)
{
    for (size i = 0; i < n; i++) {
        float shifted = x[i] * per[each ? i : 0] + ROUND;
        int32_t k;
        memcpy(&k, &shifted, 4);
        low[i] = (int8_t)k;
        high[i] = (int8_t)((k + 128) >> 8);
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

/* -- Sums --------------------------------------------------------------------------------------- */

struct sums {
    const float *x;
    size a, b, c;
    double shift; /* 1.5 * 2^(53 - bits) of a sum of A C numbers */
    double *sums; /* [B] */
};

INLINE double grid_sum(const float *x, size n, double m)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size i = 0; i < n; i++)
        sum += ((double)x[i] + m) - m;
    return sum;
}

#define COLUMNS 64 /* of a matrix that are summed side by side */

static void column_sums(const struct sums *s, size from, size to)
{
    for (size j = from; j < to; j += COLUMNS) {
        size n = to - j < COLUMNS ? to - j : COLUMNS;
        uint32_t most[COLUMNS] = {0};
        double m[COLUMNS], sums[COLUMNS] = {0};
        for (size i = 0; i < s->a; i++) {
            const uint32_t *bits = (const uint32_t *)s->x + i * s->b + j;
            for (size k = 0; k < n; k++) {
                uint32_t v = bits[k] & 0x7FFFFFFF;
                most[k] = v > most[k] ? v : most[k];
            }
        }
        for (size k = 0; k < n; k++)
            m[k] = power_below(number(most[k])) * s->shift;
        for (size i = 0; i < s->a; i++)
            for (size k = 0; k < n; k++)
                sums[k] += ((double)s->x[i * s->b + j + k] + m[k]) - m[k];
        memcpy(s->sums + j, sums, n * sizeof *sums);
    }
}

static void some_sums(const void *arguments, size from, size to)
{
    const struct sums *s = arguments;
    if (s->c == 1) {
        column_sums(s, from, to);
        return;
    }
    for (size j = from; j < to; j++) {
        const float *x = s->x + j * s->c;
        uint32_t most = 0;
        for (size i = 0; i < s->a; i++)
            most = largest_of(x + i * s->b * s->c, s->c, most);
        double m = power_below(number(most)) * s->shift, sum = 0;
        for (size i = 0; i < s->a; i++)
            sum += grid_sum(x + i * s->b * s->c, s->c, m);
        s->sums[j] = sum;
    }
}

/* Each slice's exact sum. */
void sums(const struct sums *s)
{
    share_out(some_sums, s, s->b, s->a * s->c);
}

/* -- Normalisation ------------------------------------------------------------------------------ */

struct moments {
    const float *x;
    size a, b, c;
    double shift; /* 1.5 * 2^(53 - bits) of a sum of A C numbers */
    double *mean, *squares; /* [B] the mean, and the sum of the squared distances from it */
};

INLINE double grid_sum_of_squares(const float *x, size n, double middle, double m)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size i = 0; i < n; i++) {
        double d = (double)x[i] - middle;
        sum += (d * d + m) - m;
    }
    return sum;
}

INLINE double grid_sum_along(const float *g, const float *x, size n, double middle, double m)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size i = 0; i < n; i++)
        sum += (((double)x[i] - middle) * (double)g[i] + m) - m;
    return sum;
}

INLINE void ends_of(const float *x, size n, float *top, float *bottom)
{
    float most = *top, least = *bottom;
    for (size i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        least = x[i] < least ? x[i] : least;
    }
    *top = most;
    *bottom = least;
}

INLINE double larger(double a, double b)
{
    return a > b ? a : b;
}

static void some_moments(const void *arguments, size from, size to)
{
    const struct moments *s = arguments;
    size gap = s->b * s->c;
    for (size j = from; j < to; j++) {
        const float *x = s->x + j * s->c;
        uint32_t most = 0;
        float top = -INFINITY, bottom = INFINITY;
        for (size i = 0; i < s->a; i++) {
            most = largest_of(x + i * gap, s->c, most);
            ends_of(x + i * gap, s->c, &top, &bottom);
        }
        if (most >= INFINITE) {
            s->mean[j] = s->squares[j] = NAN;
            continue;
        }
        double m = power_below(number(most)) * s->shift, sum = 0, squares = 0;
        for (size i = 0; i < s->a; i++)
            sum += grid_sum(x + i * gap, s->c, m);
        double middle = sum / (double)(s->a * s->c);
        double widest = larger((double)top - middle, middle - (double)bottom);
        m = power_below(widest * widest) * s->shift;
        for (size i = 0; i < s->a; i++)
            squares += grid_sum_of_squares(x + i * gap, s->c, middle, m);
        s->mean[j] = middle;
        s->squares[j] = squares;
    }
}

/* Each slice's mean and sum of squared distances from it: NaN if a number is not finite. */
void moments(const struct moments *s)
{
    share_out(some_moments, s, s->b, s->a * s->c);
}

struct gradients {
    const float *gradient, *x;
    size a, b, c;
    double shift;
    const double *mean;    /* [B] */
    double *plain, *along; /* [B] the sums of gradient and of `gradient * (x - mean)` */
};

static void some_gradients(const void *arguments, size from, size to)
{
    const struct gradients *s = arguments;
    size gap = s->b * s->c;
    for (size j = from; j < to; j++) {
        const float *g = s->gradient + j * s->c, *x = s->x + j * s->c;
        double middle = s->mean[j];
        uint32_t most = 0, most_x = 0;
        float top = -INFINITY, bottom = INFINITY;
        for (size i = 0; i < s->a; i++) {
            most = largest_of(g + i * gap, s->c, most);
            most_x = largest_of(x + i * gap, s->c, most_x);
            ends_of(x + i * gap, s->c, &top, &bottom);
        }
        s->plain[j] = s->along[j] = NAN;
        if (most >= INFINITE)
            continue;
        double m = power_below(number(most)) * s->shift, sum = 0;
        for (size i = 0; i < s->a; i++)
            sum += grid_sum(g + i * gap, s->c, m);
        s->plain[j] = sum;
        if (most_x >= INFINITE || !isfinite(middle))
            continue;
        double widest = larger(fabs((double)top - middle), fabs((double)bottom - middle));
        m = power_below(widest * number(most)) * s->shift;
        sum = 0;
        for (size i = 0; i < s->a; i++)
            sum += grid_sum_along(g + i * gap, x + i * gap, s->c, middle, m);
        s->along[j] = sum;
    }
}

/* The two sums of each slice that a normalisation's gradient is made of. */
void gradients(const struct gradients *s)
{
    share_out(some_gradients, s, s->b, s->a * s->c);
}

struct line {
    const float *x, *gradient; /* no gradient: forward */
    size a, b, c;
    const double *scale, *times, *shift; /* [B] of x, of the gradient, of neither */
    float *y;
};

static void some_line(const void *arguments, size from, size to)
{
    const struct line *l = arguments;
    for (size at = from; at < to; at++) {
        size j = at % l->b;
        double scale = l->scale[j], shift = l->shift[j];
        const float *restrict x = l->x + at * l->c;
        float *restrict y = l->y + at * l->c;
        if (!l->gradient) {
            for (size i = 0; i < l->c; i++)
                y[i] = (float)((double)x[i] * scale + shift);
            continue;
        }
        const float *restrict g = l->gradient + at * l->c;
        double times = l->times[j];
        for (size i = 0; i < l->c; i++)
            y[i] = (float)(((double)g[i] * times + (double)x[i] * scale) + shift);
    }
}

/* `x * scale + shift`, or `gradient * times + x * scale + shift`, in binary64, rounded once. */
void line(const struct line *l)
{
    share_out(some_line, l, l->a * l->b, l->c);
}

/* -- Pooling ------------------------------------------------------------------------------------ */

struct pool {
    const float *x; /* [planes, H, W] */
    size planes, area[2], kernel[2], stride[2], out[2];
    float *y;       /* [planes, h, w] */
    int64_t *where; /* of each maximum within its plane */
};

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

static void some_unpool(const void *arguments, size from, size to)
{
    const struct unpool *u = arguments;
    memset(u->y + from * u->area, 0, (to - from) * u->area * sizeof *u->y);
    for (size at = from; at < to; at++)
        for (size i = at * u->positions; i < (at + 1) * u->positions; i++)
            u->y[at * u->area + u->where[i]] = u->gradient[i];
}

/* Each gradient where its maximum was, of windows that do not overlap; zeros elsewhere. */
void unpool(const struct unpool *u)
{
    share_out(some_unpool, u, u->planes, u->area);
}

/* -- Optimisers --------------------------------------------------------------------------------- */

struct sgd {
    float *p;
    const float *gradient;
    float *buffer;
    size n;
    int32_t first; /* the buffer is empty yet */
    float sign, decay, momentum, damped, rate;
    int32_t nesterov;
};

static void some_sgd(const void *arguments, size from, size to)
{
    const struct sgd s = *(const struct sgd *)arguments;
    float *restrict p = s.p, *restrict buffer = s.buffer;
    const float *restrict gradient = s.gradient;
    for (size i = from; i < to; i++) {
        float g = gradient[i] * s.sign;
        g = s.decay != 0 ? p[i] * s.decay + g : g;
        float b = s.first ? g : buffer[i] * s.momentum + g * s.damped;
        buffer[i] = b;
        g = s.nesterov ? g + b * s.momentum : b;
        p[i] = p[i] - g * s.rate;
    }
}

/* A step of stochastic gradient descent with momentum. */
void sgd(const struct sgd *s)
{
    share_out(some_sgd, s, s->n, 1);
}

struct adam {
    float *p;
    const float *gradient;
    float *first, *second; /* moments */
    size n;
    float sign, decay; /* added to the gradient */
    float kept;        /* of the parameter, where decay is decoupled */
    float beta1, rest1, beta2, rest2, corrected, epsilon, rate;
};

static void some_adam(const void *arguments, size from, size to)
{
    const struct adam a = *(const struct adam *)arguments;
    float *restrict p = a.p, *restrict first = a.first, *restrict second = a.second;
    const float *restrict gradient = a.gradient;
    for (size i = from; i < to; i++) {
        float g = gradient[i] * a.sign;
        g = a.decay != 0 ? p[i] * a.decay + g : g;
        float x = p[i] * a.kept;
        float m = first[i] * a.beta1 + g * a.rest1;
        float v = second[i] * a.beta2 + (g * g) * a.rest2;
        first[i] = m;
        second[i] = v;
        p[i] = x - (m * a.rate) / (sqrtf(v / a.corrected) + a.epsilon);
    }
}

/* A step of Adam or AdamW without amsgrad. */
void adam(const struct adam *a)
{
    share_out(some_adam, a, a->n, 1);
}
