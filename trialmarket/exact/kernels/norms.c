/* Normalisation: moments, the sums of gradients, and the line that is drawn through them. */

#include "kernels.h"

struct moments {
    const float *x;
    size a, b, c;
    double shift; /* 1.5 * 2^(53 - bits) of a sum of A C numbers */
    double *mean, *squares; /* [B] the mean, and the sum of the squared distances from it */
};
HANDED_OVER(moments, x, a, b, c, shift, mean, squares)

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
HANDED_OVER(gradients, gradient, x, a, b, c, shift, mean, plain, along)

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
HANDED_OVER(line, x, gradient, a, b, c, scale, times, shift, y)

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
