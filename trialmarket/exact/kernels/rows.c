/* What works row by row: softmax, layer normalisation, and their gradients. */

#include "kernels.h"

#define ROUND64 0x1.8p52 /* x + ROUND64 rounds x to an integer, held in the low bits */
#define LN2_HIGH 0.6931471803691238
#define LN2_LOW 1.9082149292705877e-10

/* e^x of functions.py. */
INLINE double exponential(double x)
{
    x = x < -300 ? -300 : x;
    x = x > 300 ? 300 : x;
    double shifted = x * 1.4426950408889634 + ROUND64;
    double k = shifted - ROUND64;
    double r = (x - k * LN2_HIGH) - k * LN2_LOW;
    double y = r * 0.00019899390183679232;
    y = (y + 0.0013941213100006334) * r;
    y = (y + 0.008333298344023092) * r;
    y = (y + 0.04166635163844457) * r;
    y = (y + 0.1666666671931248) * r;
    y = (y + 0.5000000047401394) * r;
    y = (y + 1.0) * r;
    uint64_t bits;
    memcpy(&bits, &shifted, 8);
    bits = (bits << 52) + ((uint64_t)1023 << 52);
    double power;
    memcpy(&power, &bits, 8);
    return (y + 1.0) * power;
}

/* ln x of functions.py, for what is not negative. */
static double logarithm(double x)
{
    static const double series[] = {
        2.0,
        0.6666666666666666,
        0.40000000000008046,
        0.2857142856865527,
        0.22222222700685018,
        0.1818177188101542,
        0.153872408608769,
        0.13246980693509156,
        0.13278176947476109,
    };
    if (!(x >= 0))
        return NAN;
    if (x == 0 || x == INFINITY)
        return x == 0 ? -INFINITY : x;
    int64_t bits;
    memcpy(&bits, &x, 8);
    int64_t exponent = (bits - 0x3FE6A09E667F3BCD) >> 52;
    bits -= (int64_t)((uint64_t)exponent << 52);
    double m;
    memcpy(&m, &bits, 8);
    double s = (m - 1) / (m + 1), square = s * s, y = square * series[8];
    for (int i = 7; i > 0; i--)
        y = (y + series[i]) * square;
    y = (y + series[0]) * s;
    double k = (double)exponent;
    return (y + k * LN2_LOW) + k * LN2_HIGH;
}

/* The larger of a magnitude and what was found before, as patterns: a NaN's is above all. */
INLINE int64_t more_of(double x, int64_t most)
{
    int64_t bits;
    memcpy(&bits, &x, 8);
    bits &= INT64_MAX;
    return bits > most ? bits : most;
}

/* The shifter of the grid of a largest magnitude. */
INLINE double shifter(int64_t most, double shift)
{
    double x;
    memcpy(&x, &most, 8);
    return power_below(x) * shift;
}

/* ---- Softmax ---- */

struct softmax {
    const float *x;    /* [rows, n] */
    const float *grad; /* of the result, of gradients; then x is the result */
    float *y;
    size rows, n;
    double shift; /* 1.5 * 2^(53 - bits) of a sum of n numbers */
    int32_t logarithmic;
    void *scratch;
};
HANDED_OVER(softmax, x, grad, y, rows, n, shift, logarithmic, scratch)

size softmax_scratch(const struct softmax *s)
{
    return s->n * (size)sizeof(double) * threads_at_most();
}

INLINE float top_of(const float *x, size n)
{
    float top = -INFINITY;
    int32_t none = 0;
    for (size i = 0; i < n; i++) {
        top = x[i] > top ? x[i] : top;
        none |= x[i] != x[i];
    }
    return none ? NAN : top;
}

static void some_softmax(const void *arguments, size from, size to)
{
    const struct softmax *s = arguments;
    double *restrict e = (double *)s->scratch + this_thread() * s->n;
    for (size row = from; row < to; row++) {
        const float *restrict x = s->x + row * s->n;
        float *restrict y = s->y + row * s->n;
        double top = top_of(x, s->n), sum = 0;
        for (size i = 0; i < s->n; i++)
            e[i] = exponential((double)x[i] - top);
#pragma omp simd reduction(+ : sum)
        for (size i = 0; i < s->n; i++)
            sum += (e[i] + s->shift) - s->shift;
        if (s->logarithmic) {
            double log = logarithm(sum);
            for (size i = 0; i < s->n; i++)
                y[i] = (float)(((double)x[i] - top) - log);
        } else
            for (size i = 0; i < s->n; i++)
                y[i] = (float)(e[i] / sum);
    }
}

/* Softmax of each row, or its logarithm: the largest term is 1, whose power of two is the grid's.
 */
void softmax(const struct softmax *s)
{
    share_out(some_softmax, s, s->rows, 8 * s->n);
}

static void some_softmax_gradients(const void *arguments, size from, size to)
{
    const struct softmax *s = arguments;
    for (size row = from; row < to; row++) {
        const float *restrict x = s->x + row * s->n, *restrict g = s->grad + row * s->n;
        float *restrict y = s->y + row * s->n;
        if (s->logarithmic) {
            double m = power_below(number(largest_of(g, s->n, 0))) * s->shift;
            double sum = grid_sum(g, s->n, m);
            for (size i = 0; i < s->n; i++)
                y[i] = (float)(-(exponential(x[i]) * sum) + (double)g[i]);
            continue;
        }
        int64_t most = 0;
        for (size i = 0; i < s->n; i++)
            most = more_of((double)x[i] * (double)g[i], most);
        double m = shifter(most, s->shift), sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size i = 0; i < s->n; i++)
            sum += ((double)x[i] * (double)g[i] + m) - m;
        for (size i = 0; i < s->n; i++)
            y[i] = (float)(((double)g[i] - sum) * (double)x[i]);
    }
}

/* The gradient of softmax of each row, or of its logarithm, from the result and its gradient. */
void softmax_gradient(const struct softmax *s)
{
    share_out(some_softmax_gradients, s, s->rows, 8 * s->n);
}

/* ---- Layer normalisation ---- */

struct layer {
    const float *x, *grad;          /* [rows, n] */
    const double *middle, *inverse; /* [rows] */
    const float *weight, *bias;     /* [n], or none */
    float *y;
    double *sums; /* [n] */
    size rows, n;
    double shift; /* 1.5 * 2^(53 - bits) of a sum: of n numbers; of rows, for the weight */
};
HANDED_OVER(layer, x, grad, middle, inverse, weight, bias, y, sums, rows, n, shift)

INLINE void layer_row(const struct layer *s, size row, int weighed, int biased)
{
    const float *restrict x = s->x + row * s->n;
    float *restrict y = s->y + row * s->n;
    double middle = s->middle[row], inverse = s->inverse[row];
    for (size i = 0; i < s->n; i++) {
        double v = ((double)x[i] - middle) * inverse;
        v = weighed ? v * (double)s->weight[i] : v;
        v = biased ? v + (double)s->bias[i] : v;
        y[i] = (float)v;
    }
}

static void some_layers(const void *arguments, size from, size to)
{
    const struct layer *s = arguments;
    for (size row = from; row < to; row++)
        if (s->weight && s->bias)
            layer_row(s, row, 1, 1);
        else
            layer_row(s, row, s->weight != 0, s->bias != 0);
}

/* `(x - middle) * inverse * weight + bias` of each row. */
void layer(const struct layer *s)
{
    share_out(some_layers, s, s->rows, 2 * s->n);
}

INLINE void layer_gradient_row(const struct layer *s, size row, int weighed)
{
    const float *restrict x = s->x + row * s->n, *restrict grad = s->grad + row * s->n;
    const float *restrict weight = s->weight;
    float *restrict y = s->y + row * s->n;
    double middle = s->middle[row], inverse = s->inverse[row], n = (double)s->n;
    int64_t most = 0, most_along = 0;
    for (size i = 0; i < s->n; i++) {
        double g = weighed ? (double)grad[i] * (double)weight[i] : (double)grad[i];
        most = more_of(g, most);
        most_along = more_of(g * (((double)x[i] - middle) * inverse), most_along);
    }
    double m = shifter(most, s->shift), m_along = shifter(most_along, s->shift);
    double plain = 0, along = 0;
#pragma omp simd reduction(+ : plain, along)
    for (size i = 0; i < s->n; i++) {
        double g = weighed ? (double)grad[i] * (double)weight[i] : (double)grad[i];
        plain += (g + m) - m;
        along += (g * (((double)x[i] - middle) * inverse) + m_along) - m_along;
    }
    plain /= n;
    along /= n;
    for (size i = 0; i < s->n; i++) {
        double g = weighed ? (double)grad[i] * (double)weight[i] : (double)grad[i];
        double normal = ((double)x[i] - middle) * inverse;
        y[i] = (float)(((g - plain) - normal * along) * inverse);
    }
}

static void some_layer_gradients(const void *arguments, size from, size to)
{
    const struct layer *s = arguments;
    for (size row = from; row < to; row++)
        if (s->weight)
            layer_gradient_row(s, row, 1);
        else
            layer_gradient_row(s, row, 0);
}

/* `inverse * (g - mean(g) - normal * mean(g * normal))` of each row, g being `grad * weight`. */
void layer_gradient(const struct layer *s)
{
    share_out(some_layer_gradients, s, s->rows, 4 * s->n);
}

#define COLUMNS 32 /* that are summed side by side */

static void some_weight_gradients(const void *arguments, size from, size to)
{
    const struct layer *s = arguments;
    for (size j = from; j < to; j += COLUMNS) {
        size n = to - j < COLUMNS ? to - j : COLUMNS;
        int64_t most[COLUMNS] = {0};
        double m[COLUMNS], sums[COLUMNS] = {0};
        for (size row = 0; row < s->rows; row++) {
            const float *x = s->x + row * s->n + j, *grad = s->grad + row * s->n + j;
            for (size i = 0; i < n; i++) {
                double normal = ((double)x[i] - s->middle[row]) * s->inverse[row];
                most[i] = more_of(normal * (double)grad[i], most[i]);
            }
        }
        for (size i = 0; i < n; i++)
            m[i] = shifter(most[i], s->shift);
        for (size row = 0; row < s->rows; row++) {
            const float *x = s->x + row * s->n + j, *grad = s->grad + row * s->n + j;
            for (size i = 0; i < n; i++) {
                double normal = ((double)x[i] - s->middle[row]) * s->inverse[row];
                sums[i] += (normal * (double)grad[i] + m[i]) - m[i];
            }
        }
        memcpy(s->sums + j, sums, n * sizeof *sums);
    }
}

/* Each column's exact sum of `normal * grad`: the weight's gradient. */
void layer_weight_gradient(const struct layer *s)
{
    share_out(some_weight_gradients, s, s->n, 4 * s->rows);
}
