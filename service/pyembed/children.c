#include "service/pyembed/children.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Past this many unawaited children nothing is reaped for the user any more. */
#define CHILDREN_MAX 16384
#define REAP_MAX 16384

static struct {
    pid_t *pids;
    size_t len;
    size_t cap;
    bool lost; /* some could not be noted: reap none */
} table;

static size_t find(pid_t pid)
{
    size_t i = 0;
    while (i < table.len && table.pids[i] != pid) {
        i++;
    }
    return i;
}

/* Entries whose process is gone without our seeing it (waited for by C code). */
static void drop_gone(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < table.len; i++) {
        siginfo_t info;
        if (waitid(P_PID, (id_t)table.pids[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
            table.pids[kept++] = table.pids[i];
        }
    }
    table.len = kept;
}

void children_add(pid_t pid)
{
    if (table.len == table.cap) {
        drop_gone();
    }
    if (table.len == table.cap) {
        size_t cap = table.cap == 0 ? 64 : table.cap * 2;
        pid_t *pids = cap > CHILDREN_MAX ? NULL : realloc(table.pids, cap * sizeof *pids);
        if (pids == NULL) {
            table.lost = true;
            return;
        }
        table.pids = pids;
        table.cap = cap;
    }
    table.pids[table.len++] = pid;
}

void children_remove(pid_t pid)
{
    size_t i = find(pid);
    if (i < table.len) {
        table.pids[i] = table.pids[--table.len];
    }
}

void children_forget(void)
{
    table.len = 0;
    table.lost = false;
}

static void reap_listed(FILE *list)
{
    char word[16];
    for (unsigned n = 0; n < REAP_MAX && fscanf(list, "%15s", word) == 1; n++) {
        pid_t pid = (pid_t)strtol(word, NULL, 10);
        if (pid > 0 && find(pid) == table.len) {
            (void)waitpid(pid, NULL, WNOHANG);
        }
    }
}

void children_reap_adopted(void)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (table.lost || waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid == 0) {
        return;
    }
    /* waitid always names the same one first; the kernel's list has them all. Orphans are given to
     * the main thread, which is the caller. */
    FILE *list = fopen("/proc/thread-self/children", "re");
    if (list != NULL) {
        reap_listed(list);
        (void)fclose(list);
    }
}

bool children_exist(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}
