/* files.h: files of one session's working directory, for FileService.
 *
 * Every path is relative to the directory and is resolved by the kernel with openat2
 * (RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS), so that no `..`, absolute path, symbolic link, /proc
 * link or rename race leads out of it: the code in the session may change the tree while we walk
 * it. What is opened is checked by its descriptor: only regular files are read and written (a FIFO
 * or device never blocks: O_NONBLOCK), and a file with further hard links that is not the
 * directory owner's is refused.
 *
 * Blocking calls: for a worker thread. Any thread; nothing is shared. `root` is an O_PATH or
 * O_RDONLY descriptor of the directory, borrowed. Reasons: FILE_NOT_FOUND, FILE_DENIED,
 * PATH_OUTSIDE_ROOT, DISK_QUOTA, INVALID_FIELD. Messages name the client's path, never ours. */
#ifndef PYEXEC_SESSION_FILES_H
#define PYEXEC_SESSION_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/pyexec_v1.h"
#include "service/base/err.h"

#define FILES_PATH_MAX 4095   /* bytes of a path */
#define FILES_DEPTH_MAX 64    /* levels that a listing goes down */
#define FILES_LIST_MAX 100000 /* entries that a listing may pass over in all */
#define FILES_PAGE_DEFAULT 1000
#define FILES_PAGE_MAX 10000
#define FILES_CHUNK_MAX (1u << 20) /* bytes of one write, and of one read */

/* The messages are the caller's: pyexec__v1__..._free_unpacked(m, NULL). All: 0 or -1. */
int files_stat(int root, const char *path, Pyexec__V1__FileInfo **ret_file, struct err *err);

/* One page in byte order of the paths, which are relative to `root`; "" lists the root. `depth`
 * 0 and 1 are the directory's own entries. `page_token` is the page before's. */
int files_list(int root, const Pyexec__V1__ListFilesRequest *request,
               Pyexec__V1__ListFilesResponse **ret_list, struct err *err);

/* Opens a regular file for reading; *ret_file describes it. */
int files_open_read(int root, const char *path, int *ret_fd, Pyexec__V1__FileInfo **ret_file,
                    struct err *err);

/* Writes one chunk; repeating it is harmless. */
int files_write(int root, const Pyexec__V1__WriteFileRequest *request,
                Pyexec__V1__FileInfo **ret_file, struct err *err);

/* Makes the directory and its parents; an existing one is fine. */
int files_mkdir(int root, const char *path, Pyexec__V1__FileInfo **ret_file, struct err *err);

/* Renames, replacing a file that is there. */
int files_move(int root, const char *source, const char *destination,
               Pyexec__V1__FileInfo **ret_file, struct err *err);

/* Removes a file, an empty directory, or with `recursive` a tree. What is not there is fine. */
int files_delete(int root, const char *path, bool recursive, struct err *err);

#endif
