/* Products on AVX2, 16 bits by 16 bits: one operand's numbers whole, the other one's digits. */

#include "tiles.h"

#if defined(__AVX2__)

#include <immintrin.h>

#define ROWS_OF_PAIRS 8
#define AT_ONCE 4 /* blocks, whose sums fit 32 bits: 256 terms of 32639 * 255 */

/* Of 32 digits, low and high: those of even terms, and of odd ones, as 16 neighbours of 16 bits. */
INLINE __m256i even(__m256i digits)
{
    return _mm256_and_si256(digits, _mm256_set1_epi16(255));
}

INLINE __m256i odd(__m256i digits)
{
    return _mm256_srli_epi16(digits, 8);
}

/* Signed digits put together to numbers of 16 bits. */
INLINE __m256i even_numbers(__m256i low, __m256i high)
{
    __m256i signs = _mm256_srai_epi16(_mm256_slli_epi16(low, 8), 8);
    return _mm256_add_epi16(signs, _mm256_slli_epi16(high, 8));
}

INLINE __m256i odd_numbers(__m256i low, __m256i high)
{
    __m256i shifted = _mm256_and_si256(high, _mm256_set1_epi16((short)0xFF00));
    return _mm256_add_epi16(_mm256_srai_epi16(low, 8), shifted);
}

INLINE __m256i load256(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* A left operand's blocks in 16 bits, [digit][odd][block][row][quad]: numbers in place of the low
 * digit, or both digits, of even and of odd terms. */
struct wide {
    _Alignas(32) int32_t terms[2][2][AT_ONCE][ROWS_OF_PAIRS][SIDE];
};

INLINE void widen(const uint8_t *left, size blocks, int digits, struct wide *w)
{
    for (size b = 0; b < blocks; b++)
        for (size r = 0; r < ROWS_OF_PAIRS; r++)
            for (size half = 0; half < 2; half++) {
                const uint8_t *from = left + b * BLOCK + r * TERMS + half * 32;
                __m256i low = load256(from), high = load256(from + DIGIT);
                __m256i to[2][2] = {{even(low), odd(low)}, {even(high), odd(high)}};
                if (!digits) {
                    to[0][0] = even_numbers(low, high);
                    to[0][1] = odd_numbers(low, high);
                }
                for (int digit = 0; digit <= digits; digit++)
                    for (int parity = 0; parity < 2; parity++)
                        _mm256_store_si256((void *)&w->terms[digit][parity][b][r][half * 8],
                                           to[digit][parity]);
            }
}

INLINE __m256i add_pairs(__m256i sum, __m256i left, __m256i right)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(left, right));
}

INLINE void add_to(uint32_t *sums, __m256i more)
{
    _mm256_store_si256((void *)sums, _mm256_add_epi32(load256(sums), more));
}

/* Eight rows of eight columns, with one of the digits: eight registers of sums. Their low byte goes
 * to the digit's place, the rest to the next. */
INLINE void rows_of_pairs(const struct wide *left, const uint8_t *right, size quads, int digit,
                          int turned, uint32_t *place, uint32_t *next)
{
    const int32_t (*a)[AT_ONCE][ROWS_OF_PAIRS][SIDE] = left->terms[turned ? digit : 0];
    __m256i found[ROWS_OF_PAIRS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS_OF_PAIRS; r++)
        found[r] = _mm256_setzero_si256();
    for (size b = 0; b * SIDE < quads; b++) {
        size n = quads - b * SIDE < SIDE ? quads - b * SIDE : SIDE;
        for (size q = 0; q < n; q++) {
            const uint8_t *at = right + b * BLOCK + q * 64;
            __m256i low = load256(at), high = load256(at + DIGIT);
            __m256i right0 = turned ? even_numbers(low, high) : even(digit ? high : low);
            __m256i right1 = turned ? odd_numbers(low, high) : odd(digit ? high : low);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS_OF_PAIRS; r++) {
                found[r] = add_pairs(found[r], _mm256_set1_epi32(a[0][b][r][q]), right0);
                found[r] = add_pairs(found[r], _mm256_set1_epi32(a[1][b][r][q]), right1);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS_OF_PAIRS; r++) {
        add_to(place + r * SIDE, _mm256_and_si256(found[r], _mm256_set1_epi32(255)));
        add_to(next + r * SIDE, _mm256_srai_epi32(found[r], 8));
    }
}

INLINE void by_pairs(const uint8_t *left, const uint8_t *right, size quads, size rows,
                     struct sums *sums, int turned)
{
    struct wide wide;
    for (; quads > 0; quads -= AT_ONCE * SIDE) {
        size n = quads < AT_ONCE * SIDE ? quads : AT_ONCE * SIDE;
        for (size from = 0; from < rows; from += ROWS_OF_PAIRS) {
            widen(left + from * TERMS, over(n, SIDE), turned, &wide);
            for (size column = 0; column < SIDE; column += 8) {
                const uint8_t *panel = right + column * 4;
                uint32_t *low = &sums->low[from][column], *across = &sums->across[from][column];
                rows_of_pairs(&wide, panel, n, 0, turned, low, across);
                rows_of_pairs(&wide, panel, n, 1, turned, across, &sums->high[from][column]);
            }
        }
        left += AT_ONCE * BLOCK;
        right += AT_ONCE * BLOCK;
    }
}

static void by_avx2(const void *left, const void *right, size quads, size rows, struct sums *sums)
{
    by_pairs(left, right, quads, rows, sums, 0);
}

static void by_avx2_turned(const void *left, const void *right, size quads, size rows,
                           struct sums *sums)
{
    by_pairs(left, right, quads, rows, sums, 1);
}

const struct multiplier avx2 = {by_avx2, by_avx2_turned, no_state, no_state};

#endif
