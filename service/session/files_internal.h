/* files_internal.h: what files.c and files_list.c share. */
#ifndef PYEXEC_SESSION_FILES_INTERNAL_H
#define PYEXEC_SESSION_FILES_INTERNAL_H

#include <sys/stat.h>

#include "service/session/files.h"

/* A descriptor, or a negative errno. "" is the root itself. */
int files_openat2(int root, const char *path, uint64_t flags, mode_t mode);
/* -1 with the reason that fits the errno. */
int files_fail(struct err *err, int negative_errno, const char *path);
int files_check_path(const char *path, const char *field, struct err *err);
/* `dir` and `name` are for the target of a symbolic link. */
int files_describe(int dir, const char *name, const struct stat *st, const char *path,
                   Pyexec__V1__FileInfo **ret_file, struct err *err);

#endif
