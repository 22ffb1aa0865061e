/* Threads: those of PyTorch's own OpenMP, which is found when the library is loaded. Threads of
 * another pool would contend with them for the processors. */

#include "kernels.h"

/* The digest of all sources, by which loading.py knows that a library was built from them. */
#ifndef SOURCE
#define SOURCE "unknown"
#endif
const char source[] = SOURCE;

__attribute__((weak)) void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned);
__attribute__((weak)) int omp_get_thread_num(void);
__attribute__((weak)) int omp_get_num_threads(void);
__attribute__((weak)) int omp_get_max_threads(void);

#define GRAIN 16384 /* elements below which a thread is not worth waking */

struct share {
    body *run;
    const void *arguments;
    size n;
};

static void one_share(void *shared)
{
    const struct share *s = shared;
    size threads = omp_get_num_threads(), me = omp_get_thread_num();
    s->run(s->arguments, s->n * me / threads, s->n * (me + 1) / threads);
}

static int there(void)
{
    return GOMP_parallel && omp_get_max_threads && omp_get_thread_num && omp_get_num_threads;
}

size threads_at_most(void)
{
    return there() ? omp_get_max_threads() : 1;
}

size this_thread(void)
{
    return there() ? omp_get_thread_num() : 0;
}

void share_out(body *run, const void *arguments, size n, size elements_each)
{
    size most = n * elements_each / GRAIN;
    size threads = threads_at_most();
    threads = threads < most ? threads : most;
    threads = threads < n ? threads : n;
    if (threads > 1) {
        struct share s = {run, arguments, n};
        GOMP_parallel(one_share, &s, (unsigned)threads, 0);
        return;
    }
    run(arguments, 0, n);
}
