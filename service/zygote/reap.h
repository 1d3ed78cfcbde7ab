/* reap.h: the children of this process: which ones are sessions, how each ended, and that nothing of
 * it is left. Shared by zygotes (for what they forked) and the launcher (for what it adopted).
 *
 * The rule: a child that is in the table is a session (or a zygote); any other child is an orphan
 * of a dead session and is killed. A session's exit is reported when its orphans are gone, or have
 * survived SIGKILL for REAP_ORPHANS_NS.
 *
 * One thread, no blocking: reap_collect after SIGCHLD, reap_tick when reap_deadline has come. */
#ifndef PYEXEC_ZYGOTE_REAP_H
#define PYEXEC_ZYGOTE_REAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "service/base/clock.h"
#include "service/base/list.h"

#define REAP_CHILDREN_MAX 65536
#define REAP_BUCKETS 4096
#define REAP_KEPT_MAX 4096 /* exits kept for a pid that may still be claimed */
#define REAP_HOLDS_MAX 64  /* branches in the making */
#define REAP_ORPHANS_NS (2 * NS_PER_SEC)
#define REAP_HOLD_NS (5 * NS_PER_SEC)

struct reap_exit {
    pid_t pid;
    bool unknown; /* nobody saw how it ended: no status, no usage */
    int wait_status;
    struct rusage usage;
    uint32_t orphans_killed;
    uint32_t survivors;
};

struct reap_hold {
    uint64_t token;
    uint64_t since_ticks;
    int64_t until_ns;
};

struct reap_child;

struct reaper {
    /* A session is gone with all that it left behind. `exit` is borrowed. */
    void (*on_exit)(struct reaper *r, const struct reap_exit *exit);
    /* A zygote ended; until reap_adopted is called no orphan is looked for. */
    void (*on_zygote)(struct reaper *r, pid_t pid, int wait_status);

    struct reap_child *buckets[REAP_BUCKETS];
    unsigned len;
    struct reap_child *spare; /* what the next reap_add takes */
    struct list dead;         /* sessions, oldest first, whose orphans are being killed */
    struct list kept;         /* exits that nobody asked for, oldest first */
    unsigned kept_len;
    unsigned adoptions_due;
    struct reap_hold holds[REAP_HOLDS_MAX];
    unsigned hold_count;
    bool sweeping;  /* there may be orphans */
    bool postponed; /* the next look waits for next_look_ns */
    int64_t next_look_ns;
    unsigned awaited; /* orphans that the last look killed, */
    unsigned buried;  /* and how many have been reaped since */
};

void reap_init(struct reaper *r);
void reap_release(struct reaper *r);

/* Before a fork: makes sure that the child can be entered. 0, -ENOMEM, or -EAGAIN (full). */
int reap_reserve(struct reaper *r);
/* After the fork; uses what reap_reserve got. */
void reap_add(struct reaper *r, pid_t pid, bool zygote);

/* Enters a child that this process did not fork itself. 0; -EEXIST (entered already), -ECHILD
 * (no child of ours, and no exit of it was kept), -EINVAL, -ENOMEM, -EAGAIN. If it has exited
 * meanwhile, on_exit follows. */
int reap_claim(struct reaper *r, pid_t pid);
/* The answer to on_zygote is complete: every session of that zygote was claimed. */
void reap_adopted(struct reaper *r);
/* Reports a pid of which nothing is known any more, after its orphans. */
void reap_report_unknown(struct reaper *r, pid_t pid);

bool reap_is_session(const struct reaper *r, pid_t pid);
/* To a living session (`group`: also to the group it leads). 0, -ESRCH, -EINVAL, -EPERM. */
int reap_signal(const struct reaper *r, pid_t pid, int signal, bool group);
/* SIGKILL to a session or a zygote; what is below follows its death. Not to the group it leads: a
 * branch is in its parent's group for its first instants, and outlives it. 0 or -ESRCH. */
int reap_kill(const struct reaper *r, pid_t pid);

/* Between these two, at most REAP_HOLD_NS, children born since are left alone. 0 or -EAGAIN. */
int reap_hold(struct reaper *r, uint64_t token);
void reap_unhold(struct reaper *r, uint64_t token);

void reap_collect(struct reaper *r);
int64_t reap_deadline(const struct reaper *r); /* CLOCK_NEVER when nothing is due */
void reap_tick(struct reaper *r);

#endif
