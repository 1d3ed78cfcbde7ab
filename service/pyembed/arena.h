/* arena.h: memory of one message: allocated piece by piece, freed at once, with a maximum.
 * One thread at a time. A piece is zeroed and aligned for any type; NULL past the maximum or when
 * memory is out. */
#ifndef PYEXEC_PYEMBED_ARENA_H
#define PYEXEC_PYEMBED_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used;
    size_t max;
};

void arena_init(struct arena *a, size_t max);
void arena_release(struct arena *a); /* frees everything; the arena is as after arena_init */
void *arena_alloc(struct arena *a, size_t n);
char *arena_copy(struct arena *a, const void *data, size_t n); /* with a NUL after it */

#endif
