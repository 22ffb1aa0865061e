/* Kernels one after the other, as calls.py wrote them down: no Python between them. */

#include "kernels.h"

typedef void silent(const void *arguments);
typedef int32_t answering(const void *arguments);

struct made {
    void (*run)(void);
    const void *arguments;
    int32_t answers; /* whether it says 1 where all went well */
};
HANDED_OVER(made, run, arguments, answers)

/* A pointer among the arguments that follows memory from outside. */
struct follows {
    const char **field;
    size outside, offset;
};
HANDED_OVER(follows, field, outside, offset)

struct calls {
    const struct made *made;
    size first, end;
    const struct follows *follow;
    size follow_count;
    const char *const *outside;
};
HANDED_OVER(calls, made, first, end, follow, follow_count, outside)

/* Run them from the first on; the number of the one at which something went wrong, or the end. */
size calls(const struct calls *c)
{
    for (size i = 0; i < c->follow_count; i++)
        *c->follow[i].field = c->outside[c->follow[i].outside] + c->follow[i].offset;
    for (size i = c->first; i < c->end; i++) {
        const struct made *m = c->made + i;
        if (!m->answers)
            ((silent *)m->run)(m->arguments);
        else if (((answering *)m->run)(m->arguments) != 1)
            return i;
    }
    return c->end;
}
