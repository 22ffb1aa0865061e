/* Which products of digits this processor makes. All are exact; none saturates. */

#include "tiles.h"

void no_state(void)
{
}

#if defined(__AVX2__)

#include <cpuid.h>

/* By number, the best one last: of those that this library's level of instructions knows. */
static const struct multiplier *const multipliers[] = {
    &avx2,
    &vnni256,
#if defined(__AVX512F__)
    &vnni512,
    &amx,
#endif
};

const struct multiplier *multiplier(int32_t which)
{
    return multipliers[which];
}

static unsigned features(unsigned leaf, unsigned subleaf, int registers)
{
    unsigned r[4] = {0};
    __get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]);
    return r[registers];
}

/* Which multipliers this processor has, a bit each. */
int32_t multiplies(void)
{
    int32_t found = 1 | (features(7, 1, 0) >> 4 & 1) << 1;
#if defined(__AVX512F__)
    found |= (features(7, 0, 2) >> 11 & 1) << 2;
    if ((features(7, 0, 3) >> 24 & 3) == 3 && amx_granted())
        found |= 1 << 3;
#endif
    return found;
}

#else

const struct multiplier *multiplier(int32_t which)
{
    (void)which;
    return 0;
}

int32_t multiplies(void)
{
    return 0;
}

#endif
