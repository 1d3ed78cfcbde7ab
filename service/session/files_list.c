/* files_list.c: one page of a directory tree, in byte order of the paths.
 *
 * The tree may change between pages and while it is read: a page is what was there when it was
 * made, and the token is the last path given, so that nothing is given twice. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/session/files_internal.h"

struct listing {
    int root;
    char **paths; /* owned; entries after the token, bounded */
    size_t len;
    size_t cap;
    size_t passed; /* entries seen at all */
    const char *after;
};

static int add_path(struct listing *l, const char *dir, const char *name, char **ret_path)
{
    if (l->len == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 256;
        char **grown = realloc(l->paths, cap * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        l->paths = grown;
        l->cap = cap;
    }
    size_t n = strlen(dir) + 1 + strlen(name) + 1;
    char *path = malloc(n);
    if (path == NULL) {
        return -ENOMEM;
    }
    (void)snprintf(path, n, "%s%s%s", dir, dir[0] ? "/" : "", name);
    l->paths[l->len++] = path;
    *ret_path = path;
    return 0;
}

/* Reads one directory, going down while `levels` allows. */
static int read_level(struct listing *l, const char *dir, unsigned levels)
{
    FD_AUTO int fd = files_openat2(l->root, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0) {
        return fd;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        return -errno;
    }
    (void)FD_STEAL(fd);
    int result = 0;
    for (struct dirent *e; result == 0 && (errno = 0, e = readdir(stream)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (++l->passed > FILES_LIST_MAX) {
            result = -E2BIG;
            break;
        }
        char *path = NULL;
        result = add_path(l, dir, e->d_name, &path);
        if (result == 0 && levels > 1 && strlen(path) <= FILES_PATH_MAX) {
            int below = e->d_type == DT_DIR ? read_level(l, path, levels - 1) : 0;
            /* A directory that went away or can't be read is listed, not entered. */
            result = below == -ENOMEM || below == -E2BIG ? below : 0;
        }
        if (result == 0 && l->after != NULL && strcmp(path, l->after) <= 0) {
            /* Its place in the array may have moved to the middle by what lies below it. */
            path[0] = '\0';
        }
    }
    (void)closedir(stream);
    return result;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A path may be any bytes, a token is a proto3 string: hexadecimal. */
static char *token_of(const char *path)
{
    size_t n = strlen(path);
    char *token = malloc(n * 2 + 1);
    if (token == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(token + i * 2, 3, "%02x", (unsigned char)path[i]);
    }
    token[n * 2] = '\0';
    return token;
}

static int path_of(const char *token, char *ret_path, size_t size)
{
    size_t n = strlen(token);
    if (n % 2 != 0 || n / 2 >= size) {
        return -1;
    }
    for (size_t i = 0; i < n / 2; i++) {
        const char digits[3] = {token[i * 2], token[i * 2 + 1], '\0'};
        unsigned long byte =
            strspn(digits, "0123456789abcdef") == 2 ? strtoul(digits, NULL, 16) : 0;
        if (byte == 0) {
            return -1;
        }
        ret_path[i] = (char)byte;
    }
    ret_path[n / 2] = '\0';
    return 0;
}

static int fill_page(struct listing *l, size_t page, Pyexec__V1__ListFilesResponse *out,
                     struct err *err)
{
    if (l->len > 0) {
        qsort(l->paths, l->len, sizeof *l->paths, by_path);
    }
    size_t first = 0;
    while (first < l->len && l->paths[first][0] == '\0') {
        first++;
    }
    size_t want = l->len - first < page ? l->len - first : page;
    out->files = calloc(want ? want : 1, sizeof(Pyexec__V1__FileInfo *));
    if (out->files == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    size_t i = first;
    for (; i < l->len && out->n_files < page; i++) {
        struct stat st;
        FD_AUTO int fd = files_openat2(l->root, l->paths[i], O_PATH | O_NOFOLLOW, 0);
        if (fd < 0 || fstat(fd, &st) < 0) {
            continue; /* went away since */
        }
        if (files_describe(fd, "", &st, l->paths[i], &out->files[out->n_files], err) < 0) {
            return -1;
        }
        out->n_files++;
    }
    if (i < l->len) {
        char *token = token_of(l->paths[i - 1]);
        if (token == NULL) {
            return err_set(err, ERR_NO_MEMORY, "out of memory");
        }
        out->next_page_token = token;
    }
    return 0;
}

int files_list(int root, const Pyexec__V1__ListFilesRequest *request,
               Pyexec__V1__ListFilesResponse **ret_list, struct err *err)
{
    char after[FILES_PATH_MAX + NAME_MAX + 2];
    if (files_check_path(request->path, "path", err) < 0) {
        return -1;
    }
    if (path_of(request->page_token, after, sizeof after) < 0) {
        return err_field(err, "page_token", "not a token that an earlier page gave");
    }
    if (request->page_size < 0 || request->page_size > FILES_PAGE_MAX) {
        return err_field(err, "page_size", "0 to %d", FILES_PAGE_MAX);
    }
    if (request->depth > FILES_DEPTH_MAX) {
        return err_field(err, "depth", "0 to %d", FILES_DEPTH_MAX);
    }
    Pyexec__V1__ListFilesResponse *out = malloc(sizeof *out);
    if (out == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    pyexec__v1__list_files_response__init(out);
    struct listing l = {.root = root, .after = after[0] ? after : NULL};
    int e = read_level(&l, request->path, request->depth ? request->depth : 1);
    int result =
        e == -E2BIG
            ? err_field(err, "depth", "more than %d entries: list a part of them", FILES_LIST_MAX)
        : e < 0
            ? files_fail(err, e, request->path)
            : fill_page(&l, request->page_size ? (size_t)request->page_size : FILES_PAGE_DEFAULT,
                        out, err);
    for (size_t i = 0; i < l.len; i++) {
        free(l.paths[i]);
    }
    free(l.paths);
    if (result < 0) {
        pyexec__v1__list_files_response__free_unpacked(out, NULL);
        return -1;
    }
    *ret_list = out;
    return 0;
}
