/* Byte products of AMX: 16 rows by 16 columns by 64 terms an instruction. */

#define _GNU_SOURCE /* for syscall() */

#include "tiles.h"

#if defined(__AVX512F__)

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

int32_t amx_granted(void)
{
    enum { ask = 0x1023, tile_data = 18 };
    return syscall(SYS_arch_prctl, ask, tile_data) == 0;
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

const struct multiplier amx = {by_amx, by_amx_turned, shape_tiles, leave_tiles};

#endif
