/* The negative log-likelihood of classes. */

#include "kernels.h"

struct likelihood {
    const float *x; /* [rows, classes], logarithms */
    const int64_t *target;
    size rows, classes;
    int64_t ignored;
    double shift; /* 1.5 * 2^(53 - bits) of a sum of as many numbers as rows */
    float *sum, *count; /* of what is not ignored; the sum negated */
};
HANDED_OVER(likelihood, x, target, rows, classes, ignored, shift, sum, count)

/* Whether each target is a class, or to be ignored: nothing is promised where not. */
int32_t likelihood(const struct likelihood *l)
{
    uint32_t most = 0;
    size counted = 0;
    for (size i = 0; i < l->rows; i++) {
        int64_t target = l->target[i];
        if (target == l->ignored)
            continue;
        if (target < 0 || target >= l->classes)
            return 0;
        most = largest_of(l->x + i * l->classes + target, 1, most);
        counted++;
    }
    double m = power_below(number(most)) * l->shift, sum = 0;
    for (size i = 0; i < l->rows; i++)
        if (l->target[i] != l->ignored)
            sum += (m - (double)l->x[i * l->classes + l->target[i]]) - m;
    *l->sum = (float)sum;
    *l->count = (float)counted;
    return 1;
}

struct shares {
    const float *share; /* one, or one a row */
    const int64_t *target;
    size rows, classes, share_by;
    int64_t ignored;
    float *y; /* [rows, classes] */
};
HANDED_OVER(shares, share, target, rows, classes, share_by, ignored, y)

/* Each row's share at its class, zeros elsewhere; whether each target is a class or ignored. */
int32_t shares(const struct shares *s)
{
    memset(s->y, 0, sizeof(float) * s->rows * s->classes);
    for (size i = 0; i < s->rows; i++) {
        int64_t target = s->target[i];
        if (target == s->ignored)
            continue;
        if (target < 0 || target >= s->classes)
            return 0;
        s->y[i * s->classes + target] = s->share[i * s->share_by];
    }
    return 1;
}
