#include "service/base/strmap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct strmap_slot {
    char *key; /* NULL: empty; TOMBSTONE: deleted */
    void *value;
    uint64_t hash;
};

static char tombstone[1];

static uint64_t hash_of(const struct strmap *m, const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ m->seed;
    for (const unsigned char *p = (const unsigned char *)key; *p; p++) {
        h = (h ^ *p) * UINT64_C(0x100000001b3);
    }
    return h ^ (h >> 32);
}

void strmap_init(struct strmap *m)
{
    *m = (struct strmap){0};
    if (getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) != (ssize_t)sizeof m->seed) {
        m->seed = (uint64_t)(uintptr_t)m; /* early boot: ASLR is what there is */
    }
}

void strmap_release(struct strmap *m)
{
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].key != NULL && m->slots[i].key != tombstone) {
            free(m->slots[i].key);
        }
    }
    free(m->slots);
    m->slots = NULL;
    m->cap = m->len = m->used = 0;
}

static struct strmap_slot *find(const struct strmap *m, const char *key, uint64_t h)
{
    if (m->cap == 0) {
        return NULL;
    }
    for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct strmap_slot *s = &m->slots[i];
        if (s->key == NULL) {
            return NULL;
        }
        if (s->key != tombstone && s->hash == h && strcmp(s->key, key) == 0) {
            return s;
        }
    }
}

void *strmap_get(const struct strmap *m, const char *key)
{
    struct strmap_slot *s = find(m, key, hash_of(m, key));
    return s ? s->value : NULL;
}

static void place(struct strmap_slot *slots, size_t cap, struct strmap_slot entry)
{
    size_t i = entry.hash & (cap - 1);
    while (slots[i].key != NULL) {
        i = (i + 1) & (cap - 1);
    }
    slots[i] = entry;
}

static int rehash(struct strmap *m)
{
    size_t cap = 16;
    while (cap * 3 / 4 <= m->len + 1) {
        cap *= 2;
    }
    struct strmap_slot *slots = calloc(cap, sizeof *slots);
    if (slots == NULL) {
        return -1;
    }
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].key != NULL && m->slots[i].key != tombstone) {
            place(slots, cap, m->slots[i]);
        }
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->used = m->len;
    return 0;
}

int strmap_put(struct strmap *m, const char *key, void *value)
{
    uint64_t h = hash_of(m, key);
    struct strmap_slot *s = find(m, key, h);
    if (s != NULL) {
        s->value = value;
        return 0;
    }
    if (m->used + 1 > m->cap * 3 / 4 && rehash(m) < 0) {
        return -1;
    }
    char *copy = strdup(key);
    if (copy == NULL) {
        return -1;
    }
    place(m->slots, m->cap, (struct strmap_slot){copy, value, h});
    m->len++;
    m->used++;
    return 0;
}

void *strmap_remove(struct strmap *m, const char *key)
{
    struct strmap_slot *s = find(m, key, hash_of(m, key));
    if (s == NULL) {
        return NULL;
    }
    void *value = s->value;
    free(s->key);
    s->key = tombstone;
    s->value = NULL;
    m->len--;
    return value;
}

void strmap_each(const struct strmap *m, void (*fn)(const char *key, void *value, void *ctx),
                 void *ctx)
{
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].key != NULL && m->slots[i].key != tombstone) {
            fn(m->slots[i].key, m->slots[i].value, ctx);
        }
    }
}
