#include "clients/c/cmd/private_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/c/cmd/cli.h"
#include "clients/c/cmd/signals.h"
#include "service/base/clock.h"
#include "service/base/fd.h"

#define READY_MS 30000
#define END_MS 10000 /* from SIGTERM to SIGKILL */
#define LINE_MAX_BYTES 1024
#define LOG_SHOWN 2048
#define PATH_SIZE 256

struct private_daemon {
    char dir[PATH_SIZE];
    pid_t keeper;
    int lifeline; /* its end is what the keeper waits for */
};

struct paths {
    char binary[4096];
    char listen[PATH_SIZE + 16];
    char state[PATH_SIZE + 16];
    char log[PATH_SIZE + 16];
};

static int make_paths(const char *dir, struct paths *p)
{
    ssize_t n = readlink("/proc/self/exe", p->binary, sizeof p->binary - 1);
    if (n < 0) {
        return -1;
    }
    p->binary[n] = '\0';
    char *slash = strrchr(p->binary, '/');
    if (slash == NULL || (size_t)(slash + 1 - p->binary) + sizeof "pyexecd" > sizeof p->binary) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(slash + 1, "pyexecd", sizeof "pyexecd");
    (void)snprintf(p->listen, sizeof p->listen, "unix:%s/s", dir);
    (void)snprintf(p->state, sizeof p->state, "%s/state", dir);
    (void)snprintf(p->log, sizeof p->log, "%s/log", dir);
    return access(p->binary, X_OK);
}

/* --- the keeper ------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *dir)
{
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* In the child of the keeper. Its stdout is where the ready line goes. */
static void exec_daemon(const struct paths *p, int stdout_fd)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char *const argv[] = {
        "pyexecd",
        "--listen",
        (char *)p->listen,
        "--state-dir",
        (char *)p->state,
        "--drain-timeout",
        "1s",
        "--log-level",
        "warn",
        "--spares",
        "1",
        NULL,
    };
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    signals_unblock();
    if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(stdout_fd, 1) < 0 || dup2(log, 2) < 0) {
        _exit(127);
    }
    (void)execv(p->binary, argv);
    (void)dprintf(2, "exec %s: %s\n", p->binary, strerror(errno));
    _exit(127);
}

/* Waits up to `ms` (-1: for ever) for the daemon's end, or for the end of the lifeline (-1: not
 * watched). True when the daemon ended. */
static bool daemon_ended(int pidfd, int lifeline, int ms)
{
    struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = lifeline, .events = POLLIN}};
    while (poll(fds, 2, ms) < 0 && errno == EINTR) {
    }
    return fds[0].revents != 0;
}

static void end_daemon(pid_t pid, int pidfd)
{
    (void)kill(pid, SIGTERM);
    if (!daemon_ended(pidfd, -1, END_MS)) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* Never returns. Signals stay blocked: only the lifeline and the daemon's end count here. */
static void keep(const struct private_daemon *d, const struct paths *p, int lifeline, int ready)
{
    const int kept[] = {0, 1, 2, lifeline, ready};
    (void)setsid();
    fd_close_all_but(kept, sizeof kept / sizeof *kept);
    pid_t pid = fork();
    if (pid == 0) {
        exec_daemon(p, ready);
    }
    fd_close(&ready);
    /* Whatever of ours is a pipe must not be held open by a process that outlives us. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2 && null >= 0; fd++) {
        (void)dup2(null, fd);
    }
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd < 0 || daemon_ended(pidfd, lifeline, -1)) {
        /* It failed: its log stays until the command has shown it. */
        (void)daemon_ended(-1, lifeline, -1);
    }
    if (pid > 0) {
        end_daemon(pid, pidfd);
    }
    remove_tree(d->dir);
    _exit(0);
}

/* --- the command ------------------------------------------------------------------------------ */

static void show_log(const char *path)
{
    char text[LOG_SHOWN + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    (void)lseek(fd, end > LOG_SHOWN ? end - LOG_SHOWN : 0, SEEK_SET);
    ssize_t n = read(fd, text, LOG_SHOWN);
    if (n > 0) {
        (void)fwrite(text, 1, (size_t)n, stderr);
    }
    fd_close(&fd);
}

/* "pyexecd VERSION ready: ADDRESS...": 0 when that line came. */
static int await_ready(int fd)
{
    char line[LINE_MAX_BYTES];
    size_t len = 0;
    int64_t deadline = clock_mono_ns() + READY_MS * NS_PER_MS;
    while (len < sizeof line - 1) {
        int64_t left = (deadline - clock_mono_ns()) / NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int r = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (r < 0 && errno == EINTR) {
            continue;
        }
        ssize_t n = r > 0 ? read(fd, line + len, sizeof line - 1 - len) : -1;
        if (n <= 0) {
            return -1;
        }
        len += (size_t)n;
        line[len] = '\0';
        if (strchr(line, '\n') != NULL) {
            return strncmp(line, "pyexecd ", 8) == 0 && strstr(line, " ready: ") != NULL ? 0 : -1;
        }
    }
    return -1;
}

static int start_keeper(struct private_daemon *d, const struct paths *p, int *ret_ready)
{
    FD_AUTO int life_read = -1;
    FD_AUTO int life_write = -1;
    FD_AUTO int ready_read = -1;
    FD_AUTO int ready_write = -1;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    life_read = fds[0];
    life_write = fds[1];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -1;
    }
    ready_read = fds[0];
    ready_write = fds[1];
    d->keeper = fork();
    if (d->keeper < 0) {
        return -1;
    }
    if (d->keeper == 0) {
        fd_close(&life_write);
        fd_close(&ready_read);
        keep(d, p, life_read, FD_STEAL(ready_write));
    }
    d->lifeline = FD_STEAL(life_write);
    *ret_ready = FD_STEAL(ready_read);
    return 0;
}

int private_daemon_start(struct private_daemon **ret_daemon, char *ret_address, size_t size)
{
    struct paths p;
    const char *tmp = getenv("TMPDIR");
    struct private_daemon *d = calloc(1, sizeof *d);
    if (d == NULL) {
        cli_say("out of memory");
        return -1;
    }
    /* A socket's path has 107 bytes at most. */
    (void)snprintf(d->dir, sizeof d->dir, "%s/pyexec-XXXXXX",
                   tmp != NULL && tmp[0] == '/' && strlen(tmp) < 80 ? tmp : "/tmp");
    if (mkdtemp(d->dir) == NULL) {
        cli_say("can't make a directory %s: %s", d->dir, strerror(errno));
        free(d);
        return -1;
    }
    FD_AUTO int ready = -1;
    if (make_paths(d->dir, &p) < 0) {
        cli_say("no daemon answers at the default socket, and no pyexecd is beside pyexec (%s)\n"
                "  next: start pyexecd, or say where one listens: --address or PYEXEC_ADDRESS",
                p.binary);
        remove_tree(d->dir);
        free(d);
        return -1;
    }
    if (start_keeper(d, &p, &ready) < 0) {
        cli_say("can't start a private daemon: %s", strerror(errno));
        remove_tree(d->dir);
        free(d);
        return -1;
    }
    if (await_ready(ready) < 0) {
        cli_say("the private daemon did not start; it says:");
        show_log(p.log);
        private_daemon_end(d);
        return -1;
    }
    (void)snprintf(ret_address, size, "%s", p.listen);
    *ret_daemon = d;
    return 0;
}

void private_daemon_end(struct private_daemon *d)
{
    if (d == NULL) {
        return;
    }
    fd_close(&d->lifeline);
    while (waitpid(d->keeper, NULL, 0) < 0 && errno == EINTR) {
    }
    free(d);
}
