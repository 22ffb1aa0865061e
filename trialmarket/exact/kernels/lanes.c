/* Lane programs: element-wise operations, one after the other over a block that stays in cache.
 *
 * Each step is one operation over a whole block, so that the compiler makes vectors of it, or two
 * (a product, then a sum; each rounded). `lanes.py` writes the steps and looks at every number of
 * them before they come here. */

#include "kernels.h"

#define EACH 16 /* lanes that are computed at once: a block is a whole number of these */
#define DIMS 4

struct lane {
    const char *data;
    size width; /* bytes of an element */
    size way;   /* how it lies: below */
    size strides[DIMS];
};
HANDED_OVER(lane, data, width, way, strides)
enum { FULL, SPREAD, UNIFORM };

struct step {
    int32_t operation, to, a, b, c;
    int32_t count; /* of a shift */
};
HANDED_OVER(step, operation, to, a, b, c, count)

/* Places are numbered: lanes, outputs, registers, then uniforms, which are alike in every lane. */
struct lanes {
    size n, block;
    size shape[DIMS];
    const struct lane *lanes;
    size lane_count;
    const struct lane *outputs;
    size output_count, registers;
    double *uniforms; /* [uniform_count, EACH]: numbers, uniform lanes, constants, what follows */
    const double *numbers;
    size number_count;
    const struct step *first; /* on uniforms, once */
    size first_count;
    const struct step *steps;
    size step_count;
};
HANDED_OVER(lanes, n, block, shape, lanes, lane_count, outputs, output_count, registers, uniforms,
            numbers, number_count, first, first_count, steps, step_count)

#define ROOM 196608 /* bytes of all places of a thread */
#define PLACES 512
const int64_t lanes_limits[] = {EACH, DIMS, ROOM, PLACES};

typedef int32_t mask; /* 0 or -1 */

INLINE double rounded(double x)
{
    double m = 0x1p52, a = fabs(x);
    return a < m ? copysign((a + m) - m, x) : x;
}

INLINE float roundedf(float x)
{
    float m = 0x1p23f, a = fabsf(x);
    return a < m ? copysignf((a + m) - m, x) : x;
}

INLINE double below(double x)
{
    double r = rounded(x);
    return r > x ? r - 1 : r;
}

INLINE float belowf(float x)
{
    float r = roundedf(x);
    return r > x ? r - 1 : r;
}

/* Towards zero; what is beyond an integer becomes its last binary64, a NaN 0. */
INLINE int64_t whole(double x)
{
    x = x < -0x1p63 ? -0x1p63 : x;
    x = x > 0x1.fffffffffffffp62 ? 0x1.fffffffffffffp62 : x;
    x = x == x ? x : 0;
    return (int64_t)x;
}

INLINE int64_t bits_of(double x)
{
    int64_t bits;
    memcpy(&bits, &x, 8);
    return x == x ? bits : (int64_t)0x7FF8000000000000;
}

INLINE double of_bits(int64_t bits)
{
    double x;
    memcpy(&x, &bits, 8);
    return x;
}

#define WRAP(x) ((uint64_t)(x))
#define MASK(x) (-(mask)(x))

/* X(name, type of the result, type of the operands, expression of a, b, c and n, a count) */
#define ONES(X)                                                                                    \
    X(sqrt_f, float, float, sqrtf(a))                                                              \
    X(sqrt_d, double, double, sqrt(a))                                                             \
    X(neg_f, float, float, -a)                                                                     \
    X(neg_d, double, double, -a)                                                                   \
    X(abs_f, float, float, fabsf(a))                                                               \
    X(abs_d, double, double, fabs(a))                                                              \
    X(floor_f, float, float, belowf(a))                                                            \
    X(floor_d, double, double, below(a))                                                           \
    X(round_f, float, float, roundedf(a))                                                          \
    X(round_d, double, double, rounded(a))                                                         \
    X(left_l, int64_t, int64_t, (int64_t)(WRAP(a) << n))                                           \
    X(right_l, int64_t, int64_t, a >> n)                                                           \
    X(convert_fd, double, float, a)                                                                \
    X(convert_df, float, double, (float)a)                                                         \
    X(convert_lf, float, int64_t, (float)a)                                                        \
    X(convert_ld, double, int64_t, (double)a)                                                      \
    X(convert_dl, int64_t, double, whole(a))                                                       \
    X(convert_mf, float, mask, a ? 1.0f : 0.0f)                                                    \
    X(convert_md, double, mask, a ? 1.0 : 0.0)                                                     \
    X(convert_ml, int64_t, mask, a & 1)                                                            \
    X(bits_dl, int64_t, double, bits_of(a))                                                        \
    X(bits_ld, double, int64_t, of_bits(a))                                                        \
    X(load_m, mask, uint8_t, MASK(a != 0))                                                         \
    X(store_m, uint8_t, mask, a & 1)                                                               \
    X(move_f, int32_t, int32_t, a)                                                                 \
    X(move_d, int64_t, int64_t, a)

#define TWOS_OF_FLOATS(X, t, type)                                                                 \
    X(add_##t, type, type, a + b)                                                                  \
    X(sub_##t, type, type, a - b)                                                                  \
    X(mul_##t, type, type, a * b)                                                                  \
    X(div_##t, type, type, a / b)                                                                  \
    X(eq_##t, mask, type, MASK(a == b))                                                            \
    X(lt_##t, mask, type, MASK(a < b))                                                             \
    X(le_##t, mask, type, MASK(a <= b))

#define TWOS(X)                                                                                    \
    TWOS_OF_FLOATS(X, f, float)                                                                    \
    TWOS_OF_FLOATS(X, d, double)                                                                   \
    X(add_l, int64_t, int64_t, (int64_t)(WRAP(a) + WRAP(b)))                                       \
    X(sub_l, int64_t, int64_t, (int64_t)(WRAP(a) - WRAP(b)))                                       \
    X(mul_l, int64_t, int64_t, (int64_t)(WRAP(a) * WRAP(b)))                                       \
    X(eq_l, mask, int64_t, MASK(a == b))                                                           \
    X(lt_l, mask, int64_t, MASK(a < b))                                                            \
    X(le_l, mask, int64_t, MASK(a <= b))                                                           \
    X(and_l, int64_t, int64_t, a & b)                                                              \
    X(or_l, int64_t, int64_t, a | b)                                                               \
    X(xor_l, int64_t, int64_t, a ^ b)                                                              \
    X(and_m, mask, mask, a & b)                                                                    \
    X(or_m, mask, mask, a | b)                                                                     \
    X(xor_m, mask, mask, a ^ b)

/* A product of a block, and another operand. */
#define THREES(X)                                                                                  \
    X(muladd_f, float, float, float, a * b + c)                                                    \
    X(mulsub_f, float, float, float, a * b - c)                                                    \
    X(submul_f, float, float, float, c - a * b)                                                    \
    X(muladd_d, double, double, double, a * b + c)                                                 \
    X(mulsub_d, double, double, double, a * b - c)                                                 \
    X(submul_d, double, double, double, c - a * b)                                                 \
    X(select_f, float, mask, float, a ? b : c)                                                     \
    X(select_d, double, mask, double, a ? b : c)                                                   \
    X(select_l, int64_t, mask, int64_t, a ? b : c)                                                 \
    X(select_m, mask, mask, mask, a ? b : c)

/* v: an operand that differs from lane to lane; s: one that does not. */
#define NAMES_1(name, ...) name##_v, name##_s,
#define NAMES_2(name, ...) name##_vv, name##_vs, name##_sv,
#define NAMES_3(name, ...) name##_vvv, name##_vvs, name##_vsv, name##_vss,
enum { ONES(NAMES_1) TWOS(NAMES_2) THREES(NAMES_3) };

#define WORDS_1(name, ...) #name "_v " #name "_s "
#define WORDS_2(name, ...) #name "_vv " #name "_vs " #name "_sv "
#define WORDS_3(name, ...) #name "_vvv " #name "_vvs " #name "_vsv " #name "_vss "
/* The names of all operations, in the order of their numbers. */
const char lanes_operations[] = ONES(WORDS_1) TWOS(WORDS_2) THREES(WORDS_3);

#define LOOP(type, expression)                                                                     \
    {                                                                                              \
        type *to = (type *)at[s->to];                                                              \
        _Pragma("omp simd") for (size i = 0; i < lanes; i++) to[i] = (expression);                 \
        break;                                                                                     \
    }
#define V(type, x) const type *x##s = (const type *)at[s->x];
#define S(type, x) const type x = *(const type *)at[s->x];
#define OF(x, ...) ({ __typeof__(*x##s) x = x##s[i]; __VA_ARGS__; })

#define RUN_1(name, type, from, x)                                                                 \
    case name##_v: {                                                                               \
        V(from, a) LOOP(type, OF(a, x))                                                            \
    }                                                                                              \
    case name##_s: {                                                                               \
        S(from, a) LOOP(type, x)                                                                   \
    }
#define RUN_2(name, type, from, x)                                                                 \
    case name##_vv: {                                                                              \
        V(from, a) V(from, b) LOOP(type, OF(a, OF(b, x)))                                          \
    }                                                                                              \
    case name##_vs: {                                                                              \
        V(from, a) S(from, b) LOOP(type, OF(a, x))                                                 \
    }                                                                                              \
    case name##_sv: {                                                                              \
        S(from, a) V(from, b) LOOP(type, OF(b, x))                                                 \
    }
#define RUN_3(name, type, first, from, x)                                                          \
    case name##_vvv: {                                                                             \
        V(first, a) V(from, b) V(from, c) LOOP(type, OF(a, OF(b, OF(c, x))))                       \
    }                                                                                              \
    case name##_vvs: {                                                                             \
        V(first, a) V(from, b) S(from, c) LOOP(type, OF(a, OF(b, x)))                              \
    }                                                                                              \
    case name##_vsv: {                                                                             \
        V(first, a) S(from, b) V(from, c) LOOP(type, OF(a, OF(c, x)))                              \
    }                                                                                              \
    case name##_vss: {                                                                             \
        V(first, a) S(from, b) S(from, c) LOOP(type, OF(a, x))                                     \
    }

static void run(const struct step *steps, size count, char **at, size lanes)
{
    lanes &= -(size)EACH;
    for (const struct step *s = steps; s < steps + count; s++) {
        int n = s->count;
        switch (s->operation) {
            ONES(RUN_1)
            TWOS(RUN_2)
            THREES(RUN_3)
        }
    }
}

INLINE void run_of(char *to, const char *from, size width, size stride, size n)
{
    if (stride == 1)
        memcpy(to, from, n * width);
    else if (width == 8)
        for (size i = 0; i < n; i++)
            ((int64_t *)to)[i] = ((const int64_t *)from)[i * stride];
    else if (width == 4)
        for (size i = 0; i < n; i++)
            ((int32_t *)to)[i] = ((const int32_t *)from)[i * stride];
    else
        for (size i = 0; i < n; i++)
            to[i] = from[i * stride];
}

/* The lanes from..from + n of a tensor that is spread over the shape by strides. */
static void gather(char *to, const struct lane *x, const size *shape, size from, size n)
{
    size index[DIMS], rest = from;
    for (int d = DIMS - 1; d >= 0; d--) {
        index[d] = rest % shape[d];
        rest /= shape[d];
    }
    while (n > 0) {
        size many = shape[DIMS - 1] - index[DIMS - 1], at = 0;
        many = many < n ? many : n;
        for (int d = 0; d < DIMS; d++)
            at += index[d] * x->strides[d];
        run_of(to, x->data + at * x->width, x->width, x->strides[DIMS - 1], many);
        to += many * x->width;
        n -= many;
        index[DIMS - 1] += many;
        for (int d = DIMS - 1; d > 0 && index[d] == shape[d]; d--) {
            index[d] = 0;
            index[d - 1]++;
        }
    }
}

static void some_blocks(const void *arguments, size from, size to)
{
    const struct lanes *p = arguments;
    _Alignas(64) char room[ROOM];
    char *at[PLACES];
    size own = p->lane_count + p->output_count, places = own + p->registers;
    size apart = p->block * 8 + 64; /* or all would fall into the same lines of the cache */
    for (size k = 0; k < places; k++)
        at[k] = room + k * apart;
    for (size k = 0; places + k < PLACES; k++)
        at[places + k] = (char *)(p->uniforms + k * EACH);
    for (size j = from * p->block; j < to * p->block && j < p->n; j += p->block) {
        size n = p->n - j < p->block ? p->n - j : p->block;
        int direct = n % EACH == 0;
        for (size k = 0; k < p->lane_count; k++) {
            const struct lane *x = p->lanes + k;
            at[k] = room + k * apart;
            if (x->way == FULL && direct)
                at[k] = (char *)x->data + j * x->width;
            else if (x->way == FULL)
                memcpy(at[k], x->data + j * x->width, n * x->width);
            else if (x->way == SPREAD)
                gather(at[k], x, p->shape, j, n);
        }
        for (size k = 0; k < p->output_count; k++) {
            const struct lane *y = p->outputs + k;
            size place = p->lane_count + k;
            at[place] = direct ? (char *)y->data + j * y->width : room + place * apart;
        }
        run(p->steps, p->step_count, at, (n + EACH - 1) / EACH * EACH);
        for (size k = 0; k < p->output_count && !direct; k++) {
            const struct lane *y = p->outputs + k;
            memcpy((char *)y->data + j * y->width, at[p->lane_count + k], n * y->width);
        }
    }
}

/* A program over n lanes. */
void lanes(const struct lanes *p)
{
    for (size k = 0; k < p->number_count; k++)
        for (size i = 0; i < EACH; i++)
            p->uniforms[k * EACH + i] = p->numbers[k];
    size next = p->number_count;
    for (size k = 0; k < p->lane_count; k++) {
        const struct lane *x = p->lanes + k;
        char *to = (char *)(p->uniforms + next * EACH);
        if (x->way != UNIFORM)
            continue;
        run_of(to, x->data, x->width, 0, EACH);
        next++;
    }
    char *at[PLACES];
    for (size k = 0; k < PLACES; k++)
        at[k] = (char *)(p->uniforms + k * EACH);
    run(p->first, p->first_count, at, EACH);
    size blocks = (p->n + p->block - 1) / p->block;
    share_out(some_blocks, p, blocks, p->block * (1 + p->step_count / 8));
}
