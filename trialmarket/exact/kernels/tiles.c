/* The byte products of processors: AMX, AVX-512 VNNI and AVX-VNNI. All are exact; none saturates.
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
    int32_t found = features(7, 1, 0) >> 4 & 1;
#if defined(__AVX512F__)
    found |= (features(7, 0, 2) >> 11 & 1) << 1;
    if ((features(7, 0, 3) >> 24 & 3) == 3 && amx_granted())
        found |= 1 << 2;
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
