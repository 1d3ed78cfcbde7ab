/* tree.h: removing a directory tree that somebody else may have made, or be changing. */
#ifndef PYEXEC_SESSION_TREE_H
#define PYEXEC_SESSION_TREE_H

/* Removes directory `name` of directory `dir` and all below it: by descriptors alone, never
 * following a symbolic link, at any depth with three descriptors and no recursion (subdirectories are
 * renamed to the top of the tree first). Directories without permissions are opened up.
 * 0 (also when it is not there), or the first negative errno; what can go is gone all the same.
 * Blocking: for a worker thread. */
int tree_remove_at(int dir, const char *name);

#endif
