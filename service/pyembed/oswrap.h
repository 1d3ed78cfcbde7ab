/* oswrap.h: fences around what the os module can do that writes or starts or awaits processes.
 *
 * Each function is replaced once, in `posix`, `os` and `_posixsubprocess`, by one that looks the
 * same (name, documentation, signature, pickle) and takes a fence before and after. Calls of C
 * functions through ctypes are fenced as well. */
#ifndef PYEXEC_PYEMBED_OSWRAP_H
#define PYEXEC_PYEMBED_OSWRAP_H

/* In the zygote, before anything but `os` itself took references. GIL held; 0, or -1 with an
 * exception. */
int oswrap_install(void);

#endif
