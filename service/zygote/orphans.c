#include "service/zygote/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "service/base/fd.h"

#define PROCESSES_MAX (1u << 18)
#define FIELD_PARENT 4
#define FIELD_START 22

struct process {
    pid_t pid;
    pid_t parent;
    uint64_t start;
    bool doomed;
};

struct snapshot {
    struct process *items; /* by rising pid */
    size_t len;
    size_t cap;
};

int orphans_parse_stat(const char *line, pid_t *ret_parent, uint64_t *ret_start)
{
    /* The name is in parentheses and may contain some: the last one ends it. Field 3 follows. */
    const char *p = strrchr(line, ')');
    if (p == NULL) {
        return -1;
    }
    unsigned long long value[FIELD_START + 1] = {0};
    p++;
    for (unsigned field = 3; field <= FIELD_START; field++) {
        while (*p == ' ') {
            p++;
        }
        if (*p == '\0') {
            return -1;
        }
        value[field] = strtoull(p, NULL, 10);
        while (*p != ' ' && *p != '\0') {
            p++;
        }
    }
    *ret_parent = (pid_t)value[FIELD_PARENT];
    *ret_start = value[FIELD_START];
    return 0;
}

static int read_stat(pid_t pid, pid_t *ret_parent, uint64_t *ret_start)
{
    char path[32];
    char line[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = read(fd, line, sizeof line - 1);
    if (n <= 0) {
        return -1;
    }
    line[n] = '\0';
    return orphans_parse_stat(line, ret_parent, ret_start);
}

bool orphans_can_be_seen(void)
{
    char link[16];
    /* Another pid namespace's /proc would have other numbers for the same processes. */
    ssize_t n = readlink("/proc/self", link, sizeof link - 1);
    if (n <= 0) {
        return false;
    }
    link[n] = '\0';
    return strtol(link, NULL, 10) == getpid();
}

uint64_t orphans_ticks_now(void)
{
    struct timespec now;
    uint64_t per_sec = (uint64_t)sysconf(_SC_CLK_TCK);
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * per_sec + (uint64_t)now.tv_nsec * per_sec / 1000000000u;
}

/* The kernel's own word, and a twentieth of the price of reading /proc/PID/stat. */
static bool is_child(pid_t pid)
{
    siginfo_t info;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

static pid_t entry_pid(const struct dirent *e)
{
    if (e->d_name[0] < '1' || e->d_name[0] > '9') {
        return 0;
    }
    return (pid_t)strtol(e->d_name, NULL, 10);
}

static void look_at_child(const struct orphans_rule *rule, pid_t pid, struct orphans_found *found)
{
    pid_t parent;
    uint64_t start;
    if (rule->spare_since != ORPHANS_SPARE_NONE && read_stat(pid, &parent, &start) == 0 &&
        start >= rule->spare_since) {
        found->spared++;
        return;
    }
    if (rule->killing != NULL) {
        rule->killing(rule->ctx, pid);
    }
    (void)kill(pid, SIGKILL);
    found->killed++;
}

static void snapshot_add(struct snapshot *s, pid_t pid)
{
    if (s->len == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 512;
        struct process *items =
            cap <= PROCESSES_MAX ? realloc(s->items, cap * sizeof *items) : NULL;
        if (items == NULL) {
            return; /* what is left out is found when its parent is dead */
        }
        s->items = items;
        s->cap = cap;
    }
    struct process *p = &s->items[s->len];
    *p = (struct process){.pid = pid};
    if (read_stat(pid, &p->parent, &p->start) == 0) {
        s->len++;
    }
}

static int by_pid(const void *a, const void *b)
{
    pid_t x = ((const struct process *)a)->pid;
    pid_t y = ((const struct process *)b)->pid;
    return (x > y) - (x < y);
}

static bool parent_is_doomed(const struct snapshot *s, pid_t parent)
{
    struct process key = {.pid = parent};
    const struct process *p = bsearch(&key, s->items, s->len, sizeof key, by_pid);
    return p != NULL && p->doomed;
}

/* Pids rise from parent to child but for wrap-around, so one pass is nearly always enough. */
static void mark_trees(struct snapshot *s, const struct orphans_rule *rule)
{
    pid_t self = getpid();
    bool changed;
    qsort(s->items, s->len, sizeof *s->items, by_pid);
    do {
        changed = false;
        for (size_t i = 0; i < s->len; i++) {
            struct process *p = &s->items[i];
            if (p->doomed) {
                continue;
            }
            if (p->parent == self) {
                p->doomed = !rule->known(rule->ctx, p->pid) && p->start < rule->spare_since;
            } else {
                p->doomed = parent_is_doomed(s, p->parent);
            }
            changed = changed || p->doomed;
        }
    } while (changed);
}

static void kill_exactly(const struct process *p)
{
    pid_t parent;
    uint64_t start;
    FD_AUTO int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (fd >= 0 && read_stat(p->pid, &parent, &start) == 0 && start == p->start) {
        (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    }
}

/* Killing children alone would take one round a generation; a fork bomb grows faster than that. */
static void kill_below(const struct orphans_rule *rule, DIR *proc)
{
    struct snapshot s = {0};
    struct dirent *e;
    rewinddir(proc);
    while ((e = readdir(proc)) != NULL) {
        pid_t pid = entry_pid(e);
        if (pid > 0) {
            snapshot_add(&s, pid);
        }
    }
    if (s.len > 0) {
        mark_trees(&s, rule);
    }
    pid_t self = getpid();
    for (size_t i = 0; i < s.len; i++) {
        if (s.items[i].doomed && s.items[i].parent != self) {
            kill_exactly(&s.items[i]);
        }
    }
    free(s.items);
}

int orphans_kill(const struct orphans_rule *rule, struct orphans_found *ret_found)
{
    struct orphans_found found = {0};
    struct dirent *e;
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return -errno;
    }
    while ((e = readdir(proc)) != NULL) {
        pid_t pid = entry_pid(e);
        if (pid > 0 && !rule->known(rule->ctx, pid) && is_child(pid)) {
            look_at_child(rule, pid, &found);
        }
    }
    if (found.killed > 0) {
        kill_below(rule, proc);
    }
    (void)closedir(proc);
    *ret_found = found;
    return 0;
}
