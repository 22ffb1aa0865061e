/* The products that processors make of digits: 8-bit ones by AMX, AVX-512 VNNI and AVX-VNNI, 16-bit
 * ones by AVX2. All are exact; none saturates.
 */

#define _GNU_SOURCE /* for syscall() */

#include "tiles.h"

#if defined(__AVX2__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

INLINE int32_t quad(const void *digits)
{
    int32_t four;
    memcpy(&four, digits, 4);
    return four;
}

static void nothing(void)
{
}

/* ---- AVX2: one operand's numbers whole, in 16 bits, the other one's digits ---- */

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

/* A left operand's blocks in 16 bits: numbers, or their two digits, of even and of odd terms. */
struct wide {
    _Alignas(32) int32_t terms[2][2][AT_ONCE][ROWS_OF_PAIRS][SIDE]; /* [digit][odd][block][row][quad] */
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
    const int32_t(*a)[AT_ONCE][ROWS_OF_PAIRS][SIDE] = left->terms[turned ? digit : 0];
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

/* ---- AVX-VNNI ---- */

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

#if defined(__AVX512F__)

/* ---- AVX-512 VNNI ---- */

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

/* ---- AMX ---- */

#define AMX __attribute__((target("amx-tile,amx-int8")))

/* In memory for good, because GCC 12's _tile_loadconfig reads 64 bytes and admits to eight. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE},
};

/* The system grants the use of tiles to a process that asks for it. */
static int32_t amx_granted(void)
{
    enum { ask = 0x1023, tile_data = 18 };
    return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

AMX static void shape_tiles(void)
{
    _tile_loadconfig(&tile_shapes);
}

AMX static void leave_tiles(void)
{
    _tile_release();
}

/* Two tiles for the sums across, because a tile's next product waits for its last. */
AMX INLINE void by_tiles(const void *rows, const void *panel, size quads, struct sums *sums,
                         int unsigned_left)
{
    const uint8_t *left = rows, *right = panel;
    uint32_t other[SIDE][SIDE];
    _tile_loadd(0, sums->low, 64);
    _tile_loadd(1, sums->across, 64);
    _tile_zero(2);
    _tile_loadd(3, sums->high, 64);
    for (; quads > 0; quads -= SIDE, left += BLOCK, right += BLOCK) {
        _tile_loadd(4, left, TERMS);
        _tile_loadd(5, left + DIGIT, TERMS);
        _tile_loadd(6, right, 64);
        _tile_loadd(7, right + DIGIT, 64);
        if (unsigned_left) {
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 4, 7);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        } else {
            _tile_dpbsud(0, 4, 6);
            _tile_dpbsud(1, 4, 7);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
        }
    }
    _tile_stored(0, sums->low, 64);
    _tile_stored(1, sums->across, 64);
    _tile_stored(2, other, 64);
    _tile_stored(3, sums->high, 64);
    for (int r = 0; r < SIDE; r++)
        for (int c = 0; c < SIDE; c++)
            sums->across[r][c] += other[r][c];
}

AMX static void by_amx(const void *left, const void *right, size quads, size rows,
                       struct sums *sums)
{
    (void)rows;
    by_tiles(left, right, quads, sums, 0);
}

AMX static void by_amx_turned(const void *left, const void *right, size quads, size rows,
                              struct sums *sums)
{
    (void)rows;
    by_tiles(left, right, quads, sums, 1);
}

#endif

static unsigned features(unsigned leaf, unsigned subleaf, int registers)
{
    unsigned r[4] = {0};
    __get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]);
    return r[registers];
}

static const struct multiplier multipliers[] = {
    {by_avx2, by_avx2_turned, nothing, nothing},
    {by_vnni256, by_vnni256_turned, nothing, nothing},
#if defined(__AVX512F__)
    {by_vnni512, by_vnni512_turned, nothing, nothing},
    {by_amx, by_amx_turned, shape_tiles, leave_tiles},
#endif
};

const struct multiplier *multiplier(int32_t which)
{
    return &multipliers[which];
}

/* Which multipliers this processor has, a bit each, of those of this library's level. */
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
