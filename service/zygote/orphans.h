/* orphans.h: finds and kills children of this process that nobody knows, with all below them.
 *
 * Only a parent that has not reaped a pid knows which process it is, so a child is killed by pid;
 * what is below a child is killed by pidfd, after a second look at its birth. One thread. */
#ifndef PYEXEC_ZYGOTE_ORPHANS_H
#define PYEXEC_ZYGOTE_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ORPHANS_SPARE_NONE UINT64_MAX

struct orphans_rule {
    bool (*known)(void *ctx, pid_t pid); /* a child that is to be left alone, with its tree */
    /* May be NULL. Called with each unknown child that is killed. */
    void (*killing)(void *ctx, pid_t pid);
    void *ctx;
    /* Unknown children born at or after this time are left alone (ticks of /proc/PID/stat). */
    uint64_t spare_since;
};

struct orphans_found {
    unsigned killed; /* unknown children that got SIGKILL; each will be reaped by and by */
    unsigned spared;
};

/* One look at all processes. Children that exist during the whole call are found for certain: only
 * this process could make their pids vanish. 0, or a negative errno when /proc can't be read. */
int orphans_kill(const struct orphans_rule *rule, struct orphans_found *ret_found);

/* Whether /proc is there and shows the processes that this one can have as children. */
bool orphans_can_be_seen(void);

/* Now, in ticks of /proc/PID/stat. */
uint64_t orphans_ticks_now(void);

/* The fields of a /proc/PID/stat line; the process's name may hold anything. 0 or -1. */
int orphans_parse_stat(const char *line, pid_t *ret_parent, uint64_t *ret_start);

#endif
