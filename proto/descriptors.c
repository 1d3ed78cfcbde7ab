#include "proto/descriptors.h"

#include <string.h>

/* Order of strcmp, for a name that has a length instead of an end. */
static int compare_name(const char *name, size_t name_len, const char *want)
{
    size_t want_len = strlen(want);
    int order = memcmp(name, want, name_len < want_len ? name_len : want_len);
    if (order != 0) {
        return order;
    }
    return (name_len > want_len) - (name_len < want_len);
}

const struct descriptors_file *descriptors_find_file(const char *name, size_t name_len)
{
    for (size_t i = 0; i < descriptors_files_len; i++) {
        if (compare_name(name, name_len, descriptors_files[i].name) == 0) {
            return &descriptors_files[i];
        }
    }
    return NULL;
}

const struct descriptors_symbol *descriptors_find_symbol(const char *name, size_t name_len)
{
    size_t low = 0;
    size_t high = descriptors_symbols_len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_name(name, name_len, descriptors_symbols[middle].name);
        if (order == 0) {
            return &descriptors_symbols[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

int descriptors_visit(const struct descriptors_file *file,
                      int (*visit)(const struct descriptors_file *file, void *arg), void *arg)
{
    /* Imports have lower indexes than their importers: marking from the top down reaches all. The
     * generator refuses more files than there are marks. */
    bool wanted[DESCRIPTORS_FILES_MAX] = {false};
    size_t top = (size_t)(file - descriptors_files);
    wanted[top] = true;
    for (size_t i = top + 1; i-- > 0;) {
        for (size_t d = 0; wanted[i] && d < descriptors_files[i].deps_len; d++) {
            wanted[descriptors_files[i].deps[d]] = true;
        }
    }
    for (size_t i = 0; i <= top; i++) {
        int stop = wanted[i] ? visit(&descriptors_files[i], arg) : 0;
        if (stop != 0) {
            return stop;
        }
    }
    return 0;
}
