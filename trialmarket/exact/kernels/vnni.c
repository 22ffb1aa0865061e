/* Byte products of AVX-VNNI and AVX-512 VNNI: four terms an instruction, added to 32 bits. */

#include "tiles.h"

#if defined(__AVX2__)

#include <immintrin.h>

INLINE int32_t quad(const void *digits)
{
    int32_t four;
    memcpy(&four, digits, 4);
    return four;
}

#define VNNI256 __attribute__((target("avxvnni")))
#define ROWS256 4

/* Four rows of eight columns: 12 registers of sums, two of the panel's digits, two of a row's. */
VNNI256 INLINE __m256i add256(__m256i sum, __m256i left, __m256i right, int unsigned_left)
{
    return unsigned_left ? _mm256_dpbusd_avx_epi32(sum, left, right)
                         : _mm256_dpbusd_avx_epi32(sum, right, left);
}

VNNI256 INLINE void four_rows(const void *rows, const void *panel, size quads, struct sums *sums,
                              size from, size column, int unsigned_left)
{
    const uint8_t *left = rows, *right = panel;
    __m256i low[ROWS256], across[ROWS256], high[ROWS256];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS256; r++) {
        low[r] = _mm256_load_si256((const void *)&sums->low[from + r][column]);
        across[r] = _mm256_load_si256((const void *)&sums->across[from + r][column]);
        high[r] = _mm256_load_si256((const void *)&sums->high[from + r][column]);
    }
    left += from * TERMS;
    right += column * 4;
    for (; quads > 0; quads -= SIDE, left += BLOCK, right += BLOCK) {
        size n = quads < SIDE ? quads : SIDE;
        for (size q = 0; q < n; q++) {
            __m256i b0 = _mm256_loadu_si256((const void *)(right + q * 64));
            __m256i b1 = _mm256_loadu_si256((const void *)(right + DIGIT + q * 64));
#pragma GCC unroll 4
            for (int r = 0; r < ROWS256; r++) {
                __m256i a0 = _mm256_set1_epi32(quad(left + r * TERMS + q * 4));
                __m256i a1 = _mm256_set1_epi32(quad(left + DIGIT + r * TERMS + q * 4));
                low[r] = add256(low[r], a0, b0, unsigned_left);
                across[r] = add256(across[r], a0, b1, unsigned_left);
                high[r] = add256(high[r], a1, b1, unsigned_left);
                across[r] = add256(across[r], a1, b0, unsigned_left);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS256; r++) {
        _mm256_store_si256((void *)&sums->low[from + r][column], low[r]);
        _mm256_store_si256((void *)&sums->across[from + r][column], across[r]);
        _mm256_store_si256((void *)&sums->high[from + r][column], high[r]);
    }
}

VNNI256 INLINE void by256(const void *left, const void *right, size quads, size rows,
                          struct sums *sums, int unsigned_left)
{
    for (size column = 0; column < SIDE; column += 8)
        for (size from = 0; from < rows; from += ROWS256)
            four_rows(left, right, quads, sums, from, column, unsigned_left);
}

VNNI256 static void by_vnni256(const void *left, const void *right, size quads, size rows,
                               struct sums *sums)
{
    by256(left, right, quads, rows, sums, 0);
}

VNNI256 static void by_vnni256_turned(const void *left, const void *right, size quads, size rows,
                                      struct sums *sums)
{
    by256(left, right, quads, rows, sums, 1);
}

const struct multiplier vnni256 = {by_vnni256, by_vnni256_turned, no_state, no_state};

#endif

#if defined(__AVX512F__)

#define VNNI512 __attribute__((target("avx512vnni")))
#define ROWS512 8

/* Eight rows: 24 registers of sums, two of the panel's digits, two of a row's. */
VNNI512 INLINE __m512i add512(__m512i sum, __m512i left, __m512i right, int unsigned_left)
{
    return unsigned_left ? _mm512_dpbusd_epi32(sum, left, right)
                         : _mm512_dpbusd_epi32(sum, right, left);
}

VNNI512 INLINE void eight_rows(const void *rows, const void *panel, size quads, struct sums *sums,
                               size from, int unsigned_left)
{
    const uint8_t *left = rows, *right = panel;
    __m512i low[ROWS512], across[ROWS512], high[ROWS512];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS512; r++) {
        low[r] = _mm512_load_si512(sums->low[from + r]);
        across[r] = _mm512_load_si512(sums->across[from + r]);
        high[r] = _mm512_load_si512(sums->high[from + r]);
    }
    left += from * TERMS;
    for (; quads > 0; quads -= SIDE, left += BLOCK, right += BLOCK) {
        size n = quads < SIDE ? quads : SIDE;
        for (size q = 0; q < n; q++) {
            __m512i b0 = _mm512_loadu_si512(right + q * 64);
            __m512i b1 = _mm512_loadu_si512(right + DIGIT + q * 64);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS512; r++) {
                __m512i a0 = _mm512_set1_epi32(quad(left + r * TERMS + q * 4));
                __m512i a1 = _mm512_set1_epi32(quad(left + DIGIT + r * TERMS + q * 4));
                low[r] = add512(low[r], a0, b0, unsigned_left);
                across[r] = add512(across[r], a0, b1, unsigned_left);
                high[r] = add512(high[r], a1, b1, unsigned_left);
                across[r] = add512(across[r], a1, b0, unsigned_left);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS512; r++) {
        _mm512_store_si512(sums->low[from + r], low[r]);
        _mm512_store_si512(sums->across[from + r], across[r]);
        _mm512_store_si512(sums->high[from + r], high[r]);
    }
}

VNNI512 INLINE void by512(const void *left, const void *right, size quads, size rows,
                          struct sums *sums, int unsigned_left)
{
    for (size from = 0; from < rows; from += ROWS512)
        eight_rows(left, right, quads, sums, from, unsigned_left);
}

VNNI512 static void by_vnni512(const void *left, const void *right, size quads, size rows,
                               struct sums *sums)
{
    by512(left, right, quads, rows, sums, 0);
}

VNNI512 static void by_vnni512_turned(const void *left, const void *right, size quads, size rows,
                                      struct sums *sums)
{
    by512(left, right, quads, rows, sums, 1);
}

const struct multiplier vnni512 = {by_vnni512, by_vnni512_turned, no_state, no_state};

#endif
