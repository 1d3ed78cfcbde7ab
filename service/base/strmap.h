/* strmap.h: hash map from strings to pointers. Keys are copied, values are borrowed.
 * Not thread-safe. FNV-1a with a random seed, open addressing, at most 3/4 full. */
#ifndef PYEXEC_BASE_STRMAP_H
#define PYEXEC_BASE_STRMAP_H

#include <stddef.h>
#include <stdint.h>

struct strmap_slot;
struct strmap {
    struct strmap_slot *slots;
    size_t cap;
    size_t len;
    size_t used; /* live and deleted slots */
    uint64_t seed;
};

void strmap_init(struct strmap *m);
void strmap_release(struct strmap *m);
void *strmap_get(const struct strmap *m, const char *key); /* NULL when absent */
/* Adds or replaces; `value` is not NULL. 0, or -1 when memory is out (map unchanged). */
int strmap_put(struct strmap *m, const char *key, void *value);
void *strmap_remove(struct strmap *m, const char *key); /* the value, or NULL */
/* Visits every entry in no order; `fn` may not change the map. */
void strmap_each(const struct strmap *m, void (*fn)(const char *key, void *value, void *ctx),
                 void *ctx);

#endif
