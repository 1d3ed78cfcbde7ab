#include "service/zygote/start.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/fd.h"

#define ENVIRONMENT_MAX 32

/* Thread pools of numeric libraries must not exist in a process that is going to fork. */
static const char *const fixed[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "OPENBLAS_NUM_THREADS=1",
    "OMP_NUM_THREADS=1",
    "MKL_NUM_THREADS=1",
    "NUMEXPR_NUM_THREADS=1",
};

/* What a developer's build needs; none of it is set where pyexecd is in service. */
static const char *const passed_on[] = {
    "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=", "PYTHONMALLOC="};

struct environment {
    char **items;
    unsigned len;
    bool failed;
};

static void add(struct environment *e, const char *name, const char *value)
{
    char *item = NULL;
    if (e->len == ENVIRONMENT_MAX || asprintf(&item, "%s%s", name, value) < 0) {
        e->failed = true;
        return;
    }
    e->items[e->len++] = item;
}

static void add_user(struct environment *e)
{
    const struct passwd *user = getpwuid(getuid());
    bool has_home = user != NULL && user->pw_dir != NULL && user->pw_dir[0] == '/';
    add(e, "HOME=", has_home ? user->pw_dir : "/");
    if (user != NULL && user->pw_name != NULL) {
        add(e, "USER=", user->pw_name);
        add(e, "LOGNAME=", user->pw_name);
    }
}

char **start_environment(void)
{
    struct environment e = {.items = calloc(ENVIRONMENT_MAX + 1, sizeof(char *))};
    if (e.items == NULL) {
        return NULL;
    }
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        add(&e, fixed[i], "");
    }
    add_user(&e);
    for (unsigned i = 0; i < sizeof passed_on / sizeof *passed_on; i++) {
        for (char **have = environ; have != NULL && *have != NULL; have++) {
            if (strncmp(*have, passed_on[i], strlen(passed_on[i])) == 0) {
                add(&e, *have, "");
            }
        }
    }
    if (e.failed) {
        start_free_environment(e.items);
        return NULL;
    }
    return e.items;
}

void start_free_environment(char **env)
{
    for (unsigned i = 0; env != NULL && env[i] != NULL; i++) {
        free(env[i]);
    }
    free(env);
}

/* In the child. `report` is close-on-exec: it stays silent when exec succeeds. */
__attribute__((noreturn)) static void become_zygote(const char *path, char *const env[], int socket,
                                                    int report, pid_t launcher)
{
    static char name[] = "pyexec-zygote";
    char *const argv[] = {name, NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    /* Its own kernel session: a terminal's Ctrl-C is for the daemon alone. */
    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != launcher) {
        _exit(1); /* it died before prctl: the signal will never come */
    }
    if (report == ZYGOTE_FD) {
        report = fcntl(report, F_DUPFD_CLOEXEC, ZYGOTE_FD + 1);
    }
    if (report >= 0 &&
        (socket == ZYGOTE_FD ? fd_set_cloexec(socket, false) >= 0 : dup2(socket, ZYGOTE_FD) >= 0)) {
        fd_close_all_but((int[]){0, 1, 2, ZYGOTE_FD, report}, 5);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execve(path, argv, env);
    }
    int failed = errno;
    (void)fd_write_all(report, &failed, sizeof failed);
    _exit(127);
}

pid_t start_zygote(const char *path, char *const env[], int socket, const char **ret_stage)
{
    int report[2];
    int failed = 0;
    pid_t self = getpid();
    int rc = fd_pipe(report);
    if (rc < 0) {
        *ret_stage = "pipe";
        return rc;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_zygote(path, env, socket, report[1], self);
    }
    int fork_errno = errno;
    fd_close(&report[1]);
    if (pid < 0) {
        fd_close(&report[0]);
        *ret_stage = "fork";
        return -fork_errno;
    }
    ssize_t n;
    do {
        n = read(report[0], &failed, sizeof failed);
    } while (n < 0 && errno == EINTR);
    fd_close(&report[0]);
    if (n == (ssize_t)sizeof failed) {
        (void)waitpid(pid, NULL, 0);
        *ret_stage = "exec";
        return failed > 0 ? -failed : -EIO;
    }
    return pid;
}
