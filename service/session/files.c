/* files.c: opening, reading, writing, renaming. The listing is in files_list.c. */
#include "service/session/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/base/utf8.h"
#include "service/session/files_internal.h"
#include "service/session/tree.h"

/* The kernel may answer EAGAIN when a rename crossed its walk and it can't prove that the result
 * is beneath (openat2(2)); somebody renaming without end must not hold us. */
#define OPEN_TRIES 32

int files_openat2(int root, const char *path, uint64_t flags, mode_t mode)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = (flags & O_CREAT) != 0 ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    for (int i = 0; i < OPEN_TRIES; i++) {
        long fd = syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof how);
        if (fd >= 0) {
            return (int)fd;
        }
        if (errno != EAGAIN && errno != EINTR) {
            break;
        }
    }
    return -errno;
}

int files_fail(struct err *err, int negative_errno, const char *path)
{
    int e = -negative_errno;
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return err_sys(err, ERR_FILE_NOT_FOUND, e, NULL, "%.160s: %s", path, strerror(e));
    case EXDEV:
    case ELOOP:
        return err_sys(err, ERR_PATH_OUTSIDE_ROOT, e, NULL,
                       "%.160s leads out of the working directory", path);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return err_sys(err, ERR_DISK_QUOTA, e, NULL, "%.160s: %s", path, strerror(e));
    case ENAMETOOLONG:
    case EINVAL:
        return err_field(err, "path", "%.160s: %s", path, strerror(e));
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return err_sys(err, ERR_NO_MEMORY, e, NULL, "%s", strerror(e));
    default:
        return err_sys(err, ERR_FILE_DENIED, e, NULL, "%.160s: %s", path, strerror(e));
    }
}

int files_check_path(const char *path, const char *field, struct err *err)
{
    size_t n = strnlen(path, FILES_PATH_MAX + 1);
    if (n > FILES_PATH_MAX) {
        return err_field(err, field, "%s is longer than %d bytes", field, FILES_PATH_MAX);
    }
    if (!utf8_valid(path, n)) {
        return err_field(err, field, "%s is not UTF-8", field);
    }
    if (path[0] == '/') {
        return err_set(err, ERR_PATH_OUTSIDE_ROOT,
                       "%.160s: paths are relative to the session's working directory", path);
    }
    return 0;
}

/* The directory that holds the last component, and that component. For what acts on a name
 * (unlink, rename, mkdir) instead of on what the name leads to. */
static int open_parent(int root, const char *path, int *ret_dir, const char **ret_name,
                       struct err *err)
{
    char parent[FILES_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t n = slash != NULL ? (size_t)(slash - path) : 0;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return err_field(err, "path",
                         "%.160s: want the path of an entry below the working "
                         "directory, without a slash or dots at its end",
                         path);
    }
    memcpy(parent, path, n);
    parent[n] = '\0';
    int dir = files_openat2(root, parent, O_PATH | O_DIRECTORY, 0);
    if (dir < 0) {
        return files_fail(err, dir, path);
    }
    *ret_dir = dir;
    *ret_name = name;
    return 0;
}

static Pyexec__V1__FileType type_of(mode_t mode)
{
    return S_ISREG(mode)   ? PYEXEC__V1__FILE_TYPE__FILE_TYPE_REGULAR
           : S_ISDIR(mode) ? PYEXEC__V1__FILE_TYPE__FILE_TYPE_DIRECTORY
           : S_ISLNK(mode) ? PYEXEC__V1__FILE_TYPE__FILE_TYPE_SYMLINK
                           : PYEXEC__V1__FILE_TYPE__FILE_TYPE_OTHER;
}

/* File names are bytes, proto3 strings are UTF-8: what is not shows as U+FFFD. */
static char *text_of(const char *bytes)
{
    size_t n = strlen(bytes);
    char *out = malloc(n * 3 + 1);
    if (out == NULL) {
        return NULL;
    }
    char *to = out;
    for (size_t i = 0; i < n;) {
        size_t k = 1;
        while (k <= 4 && i + k <= n && !utf8_valid(bytes + i, k)) {
            k++;
        }
        if (k <= 4 && i + k <= n) {
            memcpy(to, bytes + i, k);
            to += k;
            i += k;
        } else {
            memcpy(to, "\xEF\xBF\xBD", 3);
            to += 3;
            i++;
        }
    }
    *to = '\0';
    return out;
}

int files_describe(int dir, const char *name, const struct stat *st, const char *path,
                   Pyexec__V1__FileInfo **ret_file, struct err *err)
{
    Pyexec__V1__FileInfo *f = malloc(sizeof *f);
    if (f == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    pyexec__v1__file_info__init(f);
    f->path = text_of(path);
    f->type = type_of(st->st_mode);
    f->size_bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    f->mode = st->st_mode & 07777;
    f->modify_time = malloc(sizeof *f->modify_time);
    char target[FILES_PATH_MAX + 1];
    ssize_t n = S_ISLNK(st->st_mode) ? readlinkat(dir, name, target, sizeof target - 1) : -1;
    bool failed = f->path == NULL || f->modify_time == NULL;
    if (f->modify_time != NULL) {
        google__protobuf__timestamp__init(f->modify_time);
        f->modify_time->seconds = st->st_mtim.tv_sec;
        f->modify_time->nanos = (int32_t)st->st_mtim.tv_nsec;
    }
    if (n >= 0) {
        target[n] = '\0';
        f->symlink_target = text_of(target);
        failed = failed || f->symlink_target == NULL;
        if (f->symlink_target == NULL) {
            f->symlink_target = (char *)protobuf_c_empty_string;
        }
    }
    if (failed) {
        if (f->path == NULL) {
            f->path = (char *)protobuf_c_empty_string;
        }
        pyexec__v1__file_info__free_unpacked(f, NULL);
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    *ret_file = f;
    return 0;
}

static int describe_fd(int fd, const char *path, Pyexec__V1__FileInfo **ret_file, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return files_fail(err, -errno, path);
    }
    return files_describe(fd, "", &st, path, ret_file, err);
}

int files_stat(int root, const char *path, Pyexec__V1__FileInfo **ret_file, struct err *err)
{
    if (files_check_path(path, "path", err) < 0) {
        return -1;
    }
    FD_AUTO int fd = files_openat2(root, path, O_PATH | O_NOFOLLOW, 0);
    struct stat st;
    if (fd < 0) {
        return files_fail(err, fd, path);
    }
    if (fstat(fd, &st) < 0) {
        return files_fail(err, -errno, path);
    }
    /* readlinkat with an empty name reads the link that an O_PATH descriptor stands for. */
    return files_describe(fd, "", &st, path, ret_file, err);
}

/* What the descriptor really is, after the open: the name may be anything by now. */
static int check_regular(int root, int fd, const char *path, struct err *err)
{
    struct stat st;
    struct stat dir;
    if (fstat(fd, &st) < 0 || fstat(root, &dir) < 0) {
        return files_fail(err, -errno, path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, ERR_FILE_DENIED, "%.160s is not a regular file", path);
    }
    if (st.st_nlink > 1 && st.st_uid != dir.st_uid) {
        return err_set(err, ERR_FILE_DENIED, "%.160s is a hard link to a file of another user",
                       path);
    }
    return 0;
}

int files_open_read(int root, const char *path, int *ret_fd, Pyexec__V1__FileInfo **ret_file,
                    struct err *err)
{
    if (files_check_path(path, "path", err) < 0) {
        return -1;
    }
    FD_AUTO int fd = files_openat2(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) {
        return files_fail(err, fd, path);
    }
    if (check_regular(root, fd, path, err) < 0 || describe_fd(fd, path, ret_file, err) < 0) {
        return -1;
    }
    *ret_fd = FD_STEAL(fd);
    return 0;
}

/* mkdir -p below root, a component at a time, each resolved from the root by the kernel. */
static int make_directories(int root, const char *path, struct err *err)
{
    char part[FILES_PATH_MAX + 1];
    for (size_t n = 0; path[n] != '\0';) {
        n += strspn(path + n, "/");
        n += strcspn(path + n, "/");
        memcpy(part, path, n);
        part[n] = '\0';
        FD_AUTO int there = files_openat2(root, part, O_PATH | O_DIRECTORY, 0);
        if (there >= 0) {
            continue;
        }
        if (there != -ENOENT) {
            return files_fail(err, there, path);
        }
        FD_AUTO int dir = -1;
        const char *name = "";
        if (open_parent(root, part, &dir, &name, err) < 0) {
            return -1;
        }
        if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST) {
            return files_fail(err, -errno, path);
        }
    }
    return 0;
}

int files_mkdir(int root, const char *path, Pyexec__V1__FileInfo **ret_file, struct err *err)
{
    if (files_check_path(path, "path", err) < 0 || make_directories(root, path, err) < 0) {
        return -1;
    }
    FD_AUTO int fd = files_openat2(root, path, O_PATH | O_DIRECTORY, 0);
    return fd < 0 ? files_fail(err, fd, path) : describe_fd(fd, path, ret_file, err);
}

static int make_parents(int root, const char *path, struct err *err)
{
    char parent[FILES_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return 0;
    }
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = '\0';
    return make_directories(root, parent, err);
}

static int write_chunk(int fd, const Pyexec__V1__WriteFileRequest *r, struct err *err)
{
    size_t done = 0;
    while (done < r->data.len) {
        ssize_t n = pwrite(fd, r->data.data + done, r->data.len - done, (off_t)(r->offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return files_fail(err, -errno, r->path);
        }
        done += (size_t)n;
    }
    if (r->truncate && ftruncate(fd, (off_t)(r->offset + r->data.len)) < 0) {
        return files_fail(err, -errno, r->path);
    }
    return 0;
}

int files_write(int root, const Pyexec__V1__WriteFileRequest *r, Pyexec__V1__FileInfo **ret_file,
                struct err *err)
{
    if (files_check_path(r->path, "path", err) < 0) {
        return -1;
    }
    if (r->data.len > FILES_CHUNK_MAX) {
        return err_field(err, "data", "%zu bytes in one write; at most %u", r->data.len,
                         FILES_CHUNK_MAX);
    }
    if (r->offset > INT64_MAX - r->data.len) {
        return err_field(err, "offset", "the offset is out of range");
    }
    if ((r->mode & ~0777u) != 0) {
        return err_field(err, "mode", "%o: permission bits only (0777)", r->mode);
    }
    if (r->make_parents && make_parents(root, r->path, err) < 0) {
        return -1;
    }
    FD_AUTO int fd = files_openat2(root, r->path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY,
                                   r->mode != 0 ? r->mode : 0644);
    if (fd < 0) {
        return files_fail(err, fd == -EISDIR || fd == -ENXIO ? -EACCES : fd, r->path);
    }
    if (check_regular(root, fd, r->path, err) < 0 || write_chunk(fd, r, err) < 0) {
        return -1;
    }
    if (r->mode != 0 && fchmod(fd, r->mode) < 0) {
        return files_fail(err, -errno, r->path);
    }
    return describe_fd(fd, r->path, ret_file, err);
}

int files_move(int root, const char *source, const char *destination,
               Pyexec__V1__FileInfo **ret_file, struct err *err)
{
    FD_AUTO int from_dir = -1;
    FD_AUTO int to_dir = -1;
    const char *from;
    const char *to;
    if (files_check_path(source, "source_path", err) < 0 ||
        files_check_path(destination, "destination_path", err) < 0 ||
        open_parent(root, source, &from_dir, &from, err) < 0 ||
        open_parent(root, destination, &to_dir, &to, err) < 0) {
        return -1;
    }
    if (renameat(from_dir, from, to_dir, to) < 0) {
        return files_fail(err, -errno, source);
    }
    struct stat st;
    if (fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return files_fail(err, -errno, destination);
    }
    return files_describe(to_dir, to, &st, destination, ret_file, err);
}

int files_delete(int root, const char *path, bool recursive, struct err *err)
{
    FD_AUTO int dir = -1;
    const char *name;
    struct err lookup;
    if (files_check_path(path, "path", err) < 0) {
        return -1;
    }
    if (open_parent(root, path, &dir, &name, &lookup) < 0) {
        if (lookup.code == ERR_FILE_NOT_FOUND) {
            return 0;
        }
        *err = lookup;
        return -1;
    }
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return files_fail(err, -errno, path);
    }
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != ENOTEMPTY || !recursive) {
        return errno == ENOTEMPTY
                   ? err_set(err, ERR_FILE_DENIED,
                             "%.160s is a directory that is not empty: ask for recursive", path)
                   : files_fail(err, -errno, path);
    }
    int e = tree_remove_at(dir, name);
    return e < 0 ? files_fail(err, e, path) : 0;
}
