/* end.h: the last thing that a zygote or the launcher does: nobody below it stays behind. */
#ifndef PYEXEC_ZYGOTE_END_H
#define PYEXEC_ZYGOTE_END_H

#include <stdbool.h>
#include <stdint.h>

/* Kills every child and all below, and reaps, until there is none. `sigchld` is a signalfd. False when
 * some process lives on after `bound_ns` (in the kernel, with SIGKILL pending). */
bool end_everything(int sigchld, int64_t bound_ns);

#endif
