/* workdir.h: the working directory of a session, by its absolute path and never by the process's
 * current directory, which is the user's to change. No Python here.
 * Main thread. Failures are warnings of the run: none of this stops an execution. */
#ifndef PYEXEC_PYEMBED_WORKDIR_H
#define PYEXEC_PYEMBED_WORKDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/pyembed/result.h"

/* Remembers the path (copied). 0, or -1 when memory is out. */
int workdir_set(const char *path);
const char *workdir_path(void); /* "" before workdir_set */

/* Changes into it. */
void workdir_enter(struct result *r);

/* Puts `source` into the file `name` there, and removes that file again. */
void workdir_write_source(struct result *r, const char *name, const void *source, size_t n);
void workdir_remove_source(void);

/* Regular files below it with time and size, at most WORKDIR_FILES_MAX. NULL when memory is out. */
#define WORKDIR_FILES_MAX 10000
struct workdir_snapshot;
struct workdir_snapshot *workdir_snapshot(void);
void workdir_snapshot_free(struct workdir_snapshot *s);

/* Fills changed_files with what is new or different since `before`. */
void workdir_report_changes(struct result *r, const struct workdir_snapshot *before);

#endif
