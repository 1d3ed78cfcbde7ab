/* zygote.h: main loop of the pyexec-zygote process: warm interpreter, fork, reap, signal. */
#ifndef PYEXEC_ZYGOTE_ZYGOTE_H
#define PYEXEC_ZYGOTE_ZYGOTE_H

/* Serves the daemon on `fd` (the first frame must be CONFIG) until end of file, then kills its
 * sessions and returns the exit status. In a forked session it never returns. Single-threaded. */
int zygote_run(int fd);

#endif
