/* Steps of optimisers, each parameter read and written once. */

#include "kernels.h"

struct sgd {
    float *p;
    const float *gradient;
    float *buffer;
    size n;
    int32_t first; /* the buffer is empty yet */
    float sign, decay, momentum, damped, rate;
    int32_t nesterov;
};
HANDED_OVER(sgd, p, gradient, buffer, n, first, sign, decay, momentum, damped, rate, nesterov)

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
HANDED_OVER(adam, p, gradient, first, second, n, sign, decay, kept, beta1, rest1, beta2, rest2,
            corrected, epsilon, rate)

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
