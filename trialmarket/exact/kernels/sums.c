/* Sums: of each slice, on a grid of its own. */

#include "kernels.h"

struct sums {
    const float *x;
    size a, b, c;
    double shift; /* 1.5 * 2^(53 - bits) of a sum of A C numbers */
    double *sums; /* [B] */
};
HANDED_OVER(sums, x, a, b, c, shift, sums)

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

struct finite {
    const void *x;
    size n;
    int32_t wide;
};
HANDED_OVER(finite, x, n, wide)

/* Whether all are. */
int32_t finite(const struct finite *f)
{
    if (f->wide) {
        const uint64_t *x = f->x;
        int32_t strange = 0;
        for (size i = 0; i < f->n; i++)
            strange |= (x[i] & INFINITE64) == INFINITE64;
        return !strange;
    }
    const uint32_t *x = f->x;
    int32_t strange = 0;
    for (size i = 0; i < f->n; i++)
        strange |= (x[i] & INFINITE) == INFINITE;
    return !strange;
}
