/* rlimits.c: what the kernel counts per process (or per user: those limits are only a last belt). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/sandbox/steps.h"

/* Where an option is 0. The soft limit of descriptors is what select(2) can hold; code that needs
 * more raises it. Locked memory is for libraries that lock a few pages of keys. Pending signals
 * count per user, so the bound is for all sessions together; it stops 96,000 timers, not a program. */
#define OPEN_FILES_SOFT 1024
#define OPEN_FILES_HARD 65536
#define MEMLOCK_BYTES (8u << 20)
#define MSGQUEUE_BYTES (800u << 10)
#define SIGPENDING_MAX 16384

#define OOM_SCORE_RAISE 500
#define OOM_SCORE_MAX 1000

/* Never raises a hard limit: an ordinary user may not, and root should not by accident. */
static int lower(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) < 0) {
        return -errno;
    }
    struct rlimit want = {.rlim_max = hard < now.rlim_max ? hard : now.rlim_max};
    want.rlim_cur = soft < want.rlim_max ? soft : want.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &want) < 0 ? -errno : 0;
}

static int lower_if(int what, uint64_t value)
{
    return value == 0 ? 0 : lower(what, (rlim_t)value, (rlim_t)value);
}

int sbx_rlimits(const struct sbx_plan *plan)
{
    const struct sbx_limits *l = &plan->limits;
    /* With 1 the kernel starts no core-dump helper either; 0 stops only files. */
    int rc = lower(RLIMIT_CORE, 1, 1);
    rc = rc < 0 ? rc : lower(RLIMIT_MEMLOCK, MEMLOCK_BYTES, MEMLOCK_BYTES);
    rc = rc < 0 ? rc : lower(RLIMIT_MSGQUEUE, MSGQUEUE_BYTES, MSGQUEUE_BYTES);
    rc = rc < 0 ? rc : lower(RLIMIT_SIGPENDING, SIGPENDING_MAX, SIGPENDING_MAX);
    if (rc == 0) {
        rc = l->open_files != 0 ? lower(RLIMIT_NOFILE, l->open_files, l->open_files)
                                : lower(RLIMIT_NOFILE, OPEN_FILES_SOFT, OPEN_FILES_HARD);
    }
    rc = rc < 0 ? rc : lower_if(RLIMIT_NPROC, l->processes);
    rc = rc < 0 ? rc : lower_if(RLIMIT_FSIZE, l->file_size_bytes);
    rc = rc < 0 ? rc : lower_if(RLIMIT_CPU, l->cpu_seconds);
    rc = rc < 0 ? rc : lower_if(RLIMIT_AS, l->address_space_bytes);
    return rc;
}

int sbx_oom_score(const struct sbx_plan *plan)
{
    (void)plan;
    char text[16];
    FD_AUTO int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n < 0) {
        return -errno;
    }
    text[n] = '\0';
    long score = strtol(text, NULL, 10) + OOM_SCORE_RAISE;
    int length =
        snprintf(text, sizeof text, "%d", score < OOM_SCORE_MAX ? (int)score : OOM_SCORE_MAX);
    return pwrite(fd, text, (size_t)length, 0) < 0 ? -errno : 0;
}
