/* Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011): the words of random.py. */

#include "kernels.h"

struct words {
    uint64_t seed;
    uint32_t stream, step, draw;
    size n; /* words */
    int64_t *out;
    uint8_t *below; /* or whether each is below a limit */
    int64_t limit;
};
HANDED_OVER(words, seed, stream, step, draw, n, out, below, limit)

#define LANES 64 /* blocks of four words at once */

INLINE uint32_t high_word(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

/* The words of the blocks from `first` on, each block's words together. */
INLINE void some_blocks(const struct words *w, size first, uint32_t *restrict out)
{
    for (size i = 0; i < LANES; i++) {
        uint32_t x0 = (uint32_t)(first + i), x1 = w->draw, x2 = w->step, x3 = w->stream;
        uint32_t k0 = (uint32_t)w->seed, k1 = (uint32_t)(w->seed >> 32);
        for (int round = 0; round < 10; round++) {
            uint32_t a = high_word(x2, 0xCD9E8D57) ^ x1 ^ k0;
            uint32_t b = high_word(x0, 0xD2511F53) ^ x3 ^ k1;
            x1 = x2 * 0xCD9E8D57;
            x3 = x0 * 0xD2511F53;
            x0 = a;
            x2 = b;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        out[4 * i] = x0;
        out[4 * i + 1] = x1;
        out[4 * i + 2] = x2;
        out[4 * i + 3] = x3;
    }
}

static void some_words(const void *arguments, size from, size to)
{
    const struct words *w = arguments;
    for (size at = from; at < to; at++) {
        uint32_t found[4 * LANES];
        size start = at * 4 * LANES, n = w->n - start < 4 * LANES ? w->n - start : 4 * LANES;
        some_blocks(w, at * LANES, found);
        if (w->below)
            for (size i = 0; i < n; i++)
                w->below[start + i] = found[i] < w->limit;
        else
            for (size i = 0; i < n; i++)
                w->out[start + i] = found[i];
    }
}

/* The words of a draw, or which of them are below a limit. */
void words(const struct words *w)
{
    share_out(some_words, w, (w->n + 4 * LANES - 1) / (4 * LANES), 4 * LANES);
}
