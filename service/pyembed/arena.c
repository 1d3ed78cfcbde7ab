#include "service/pyembed/arena.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE 16384

struct arena_block {
    struct arena_block *next;
    size_t len;
    size_t cap;
    _Alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_release(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    const size_t align = _Alignof(max_align_t);
    if (n > a->max || a->used > a->max - n) {
        return NULL;
    }
    size_t need = (n + align - 1) / align * align;
    struct arena_block *b = a->blocks;
    if (b == NULL || b->cap - b->len < need) {
        size_t cap = need > BLOCK_SIZE ? need : BLOCK_SIZE;
        b = calloc(1, sizeof *b + cap);
        if (b == NULL) {
            return NULL;
        }
        b->cap = cap;
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = b->data + b->len;
    b->len += need;
    a->used += n;
    return p;
}

char *arena_copy(struct arena *a, const void *data, size_t n)
{
    char *p = arena_alloc(a, n + 1);
    if (p != NULL && n > 0) {
        memcpy(p, data, n);
    }
    return p;
}
