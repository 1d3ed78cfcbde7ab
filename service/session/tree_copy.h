/* tree_copy.h: copying a directory tree that somebody else may be changing. */
#ifndef PYEXEC_SESSION_TREE_COPY_H
#define PYEXEC_SESSION_TREE_COPY_H

#include <stdint.h>

#define TREE_COPY_BYTES_MAX (UINT64_C(4) << 30) /* of file content */
#define TREE_COPY_ENTRIES_MAX 200000
#define TREE_COPY_DEPTH_MAX 128

struct tree_copied {
    uint64_t bytes;
    uint64_t entries;
    uint64_t skipped; /* sockets, pipes, devices */
};

/* Copies what is in directory `from` into the empty directory `to`: files by reflink, else by
 * copy_file_range; directories; symbolic links as they are. Never follows a link. Permissions stay, owners
 * and times don't. 0 or a negative errno (-EFBIG: beyond a bound above). Blocking: for a worker
 * thread. */
int tree_copy(int from, int to, struct tree_copied *ret_copied);

#endif
