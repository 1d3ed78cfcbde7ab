#include "service/pyembed/workdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/base/utf8.h"

#define DEPTH_MAX 32
#define CHANGED_MAX 1000

static char *directory;
static char written[NAME_MAX + 1]; /* the source file that is there now, or "" */

int workdir_set(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return -1;
    }
    free(directory);
    directory = copy;
    return 0;
}

const char *workdir_path(void)
{
    return directory == NULL ? "" : directory;
}

static int open_directory(void)
{
    return directory == NULL ? -1 : open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void workdir_enter(struct result *r)
{
    if (directory != NULL && chdir(directory) < 0) {
        result_warn(r, "the working directory can't be entered: %s", strerror(errno));
    }
}

void workdir_write_source(struct result *r, const char *name, const void *source, size_t n)
{
    if (strlen(name) > NAME_MAX || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0) {
        result_warn(r, "the source file was not written: its name is not a plain file name");
        return;
    }
    FD_AUTO int dir = open_directory();
    FD_AUTO int file = -1;
    if (dir >= 0) {
        /* Not through a link, and never waiting for the reader of a pipe that lies there. */
        file = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                      0644);
    }
    int error = file < 0 ? errno : 0;
    if (file >= 0) {
        memcpy(written, name, strlen(name) + 1);
        error = -fd_write_all(file, source, n);
    }
    if (error != 0) {
        result_warn(r, "the source file was not written: %s", strerror(error));
    }
}

void workdir_remove_source(void)
{
    if (written[0] != '\0') {
        FD_AUTO int dir = open_directory();
        if (dir >= 0) {
            (void)unlinkat(dir, written, 0);
        }
        written[0] = '\0';
    }
}

/* --- what a run changed ------------------------------------------------------------------------- */

struct file {
    char *path;
    int64_t time_ns;
    uint64_t size;
    ino_t inode;
};

struct workdir_snapshot {
    struct file files[WORKDIR_FILES_MAX];
    size_t len;
    bool full;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static void add_file(struct workdir_snapshot *s, const char *path, const struct stat *st)
{
    char *copy = s->len < WORKDIR_FILES_MAX ? strdup(path) : NULL;
    if (copy == NULL) {
        s->full = true;
        return;
    }
    s->files[s->len++] =
        (struct file){copy, (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
                      (uint64_t)st->st_size, st->st_ino};
}

/* `path` holds the directory's name from the working directory on, `len` bytes, and has PATH_MAX
 * of room. Takes `fd`. */
static void walk(struct workdir_snapshot *s, int take_fd, char *path, size_t len, unsigned depth)
{
    DIR *d = fdopendir(take_fd);
    if (d == NULL) {
        fd_close(&take_fd);
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL && !s->full; e = readdir(d)) {
        size_t n = strlen(e->d_name);
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, "__pycache__") == 0 || len + n + 2 > PATH_MAX ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            continue;
        }
        memcpy(path + len, e->d_name, n + 1);
        if (S_ISREG(st.st_mode)) {
            add_file(s, path, &st);
        } else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
            int below =
                openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (below >= 0) {
                memcpy(path + len + n, "/", 2);
                walk(s, below, path, len + n + 1, depth + 1);
            }
        }
    }
    closedir(d);
}

struct workdir_snapshot *workdir_snapshot(void)
{
    struct workdir_snapshot *s = malloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->len = 0;
    s->full = false;
    int fd = open_directory();
    if (fd >= 0) {
        char path[PATH_MAX] = "";
        walk(s, fd, path, 0, 0);
    }
    qsort(s->files, s->len, sizeof s->files[0], by_path);
    return s;
}

void workdir_snapshot_free(struct workdir_snapshot *s)
{
    for (size_t i = 0; s != NULL && i < s->len; i++) {
        free(s->files[i].path);
    }
    free(s);
}

static bool same_as_before(const struct workdir_snapshot *before, const struct file *now)
{
    const struct file *old =
        bsearch(now, before->files, before->len, sizeof before->files[0], by_path);
    return old != NULL && old->time_ns == now->time_ns && old->size == now->size &&
           old->inode == now->inode;
}

static Pyexec__V1__FileRef *reference(const struct file *f, struct arena *arena)
{
    Pyexec__V1__FileRef *ref = arena_alloc(arena, sizeof *ref);
    if (ref == NULL) {
        return NULL;
    }
    pyexec__v1__file_ref__init(ref);
    ref->path = arena_copy(arena, f->path, strlen(f->path));
    ref->size_bytes = f->size;
    return ref->path == NULL ? NULL : ref;
}

void workdir_report_changes(struct result *r, const struct workdir_snapshot *before)
{
    struct workdir_snapshot *after = before == NULL ? NULL : workdir_snapshot();
    Pyexec__V1__FileRef **refs =
        after == NULL ? NULL : arena_alloc(&r->arena, CHANGED_MAX * sizeof *refs);
    if (refs == NULL) {
        workdir_snapshot_free(after);
        result_warn(r, "changed files are not known: no memory");
        return;
    }
    size_t n = 0;
    size_t left_out = 0;
    for (size_t i = 0; i < after->len; i++) {
        const struct file *f = &after->files[i];
        if (same_as_before(before, f)) {
            continue;
        }
        Pyexec__V1__FileRef *ref = NULL;
        if (n < CHANGED_MAX && utf8_valid(f->path, strlen(f->path))) {
            ref = reference(f, &r->arena);
        }
        if (ref == NULL) {
            left_out++;
        } else {
            refs[n++] = ref;
        }
    }
    r->done.changed_files = refs;
    r->done.n_changed_files = n;
    if (left_out > 0) {
        result_warn(r, "%zu changed files are not listed", left_out);
    }
    if (before->full || after->full) {
        result_warn(r, "changed files may be missing: the directory has more than %d files",
                    WORKDIR_FILES_MAX);
    }
    workdir_snapshot_free(after);
}
