/* main.c: pyexecd: options → configuration → run.
 *
 * Theory of operation. Order matters here and nowhere else:
 *   1. options; signals blocked for good (they arrive on a signalfd of the loop; library threads
 *      inherit the mask);
 *   2. the state directory and its lock;
 *   3. the launcher is forked, before any thread, libuv loop or gRPC exists: nothing is ever forked
 *      from this process afterwards;
 *   4. the engine starts the first zygote; the listeners open (health says NOT_SERVING);
 *   5. the zygote is ready: health SERVING, one line on stdout.
 * SIGTERM or SIGINT: drain (running executions may finish until --drain-timeout), close the
 * streams, close the engine, exit 0. A second signal cuts the drain short. A dead launcher or a
 * zygote that can't start ends the process with status 1. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "service/base/clock.h"
#include "service/base/fd.h"
#include "service/base/id.h"
#include "service/base/log.h"
#include "service/base/version.h"
#include "service/cmd/state_dir.h"
#include "service/config/config.h"
#include "service/rpc/server.h"
#include "service/session/engine.h"
#include "service/zygote/launcher.h"

#define FDS_PER_SESSION 3
#define FDS_RESERVED 256 /* listeners, libraries, zygotes, files, and pipes of old runs */

struct daemon {
    struct config config;
    uv_loop_t loop;
    uv_poll_t signals;
    int signal_fd;
    struct engine *engine;
    struct rpc_server *rpc;
    bool stopping;
    bool failed;
};

static int fail(const struct err *err)
{
    (void)fprintf(stderr, "pyexecd: %s\n", err->text);
    return 1;
}

static void on_engine_closed(void *ctx)
{
    struct daemon *d = ctx;
    uv_close((uv_handle_t *)&d->signals, NULL);
}

static void on_rpc_closed(void *ctx)
{
    struct daemon *d = ctx;
    engine_close(d->engine, on_engine_closed, d);
}

static void on_drained(void *ctx)
{
    struct daemon *d = ctx;
    rpc_server_shutdown(d->rpc, on_rpc_closed, d);
}

static void stop(struct daemon *d, int64_t drain_ns)
{
    rpc_server_set_serving(d->rpc, false);
    if (!d->stopping) {
        d->stopping = true;
        engine_drain(d->engine, drain_ns, on_drained, d);
    } else {
        engine_drain(d->engine, 0, NULL, NULL);
    }
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
    struct daemon *d = poll->data;
    struct signalfd_siginfo info;
    (void)status;
    (void)events;
    while (read(d->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        log_event(LOG_INFO, d->stopping ? "stop.now" : "stop.drain", "signal",
                  strsignal((int)info.ssi_signo), (char *)NULL);
        stop(d, d->config.drain_timeout);
    }
}

static void on_ready(void *ctx, const struct err *err)
{
    struct daemon *d = ctx;
    if (err != NULL) {
        (void)fail(err);
        d->failed = true;
        stop(d, 0);
        return;
    }
    if (d->stopping) {
        return;
    }
    rpc_server_set_serving(d->rpc, true);
    (void)printf("pyexecd %s ready: %s\n", PYEXEC_VERSION, rpc_server_addresses(d->rpc));
    (void)fflush(stdout);
}

static void on_fatal(void *ctx, const struct err *err)
{
    struct daemon *d = ctx;
    log_err(LOG_ERROR, "fatal", NULL, err);
    d->failed = true;
    stop(d, 0);
}

/* Library and service code may rely on 0, 1 and 2 being open. */
static int open_standard_fds(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd < 0) {
        return -1;
    }
    (void)close(fd);
    return 0;
}

static void block_signals(sigset_t *ret_stop)
{
    sigset_t all;
    (void)sigfillset(&all);
    /* What the processor raises must not be blocked: it would kill without a trace. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        (void)sigdelset(&all, faults[i]);
    }
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(ret_stop);
    (void)sigaddset(ret_stop, SIGTERM);
    (void)sigaddset(ret_stop, SIGINT);
}

/* Raises the soft limit to the hard one and says how many sessions that allows. */
static uint64_t sessions_allowed(uint64_t wanted)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) < 0) {
        return wanted;
    }
    if (lim.rlim_cur < lim.rlim_max) {
        struct rlimit raised = {lim.rlim_max, lim.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            lim = raised;
        }
    }
    uint64_t room = lim.rlim_cur > FDS_RESERVED ? lim.rlim_cur - FDS_RESERVED : 0;
    uint64_t allowed = room / FDS_PER_SESSION > 0 ? room / FDS_PER_SESSION : 1;
    if (allowed >= wanted) {
        return wanted;
    }
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, allowed);
    log_event(LOG_WARN, "max-sessions.lowered", "to", text, "because", "open-file limit",
              (char *)NULL);
    return allowed;
}

static void fill_limits(const struct config *c, struct engine_limits *l)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    engine_limits_default(l);
    l->max_code_bytes = c->max_code_bytes;
    l->max_sessions = (uint32_t)sessions_allowed(c->max_sessions);
    l->max_running =
        c->max_running ? (uint32_t)c->max_running : (uint32_t)(cores > 0 ? cores : 1) * 4;
    l->max_session_queue = (uint32_t)c->max_session_queue;
    l->default_output_bytes = c->output_bytes;
    l->max_output_bytes = c->max_output_bytes;
    l->retained_total_bytes = c->retained_bytes;
    l->retain_ns = c->retain;
    l->remember_ns = c->retain;
    l->default_idle_ns = c->idle_timeout;
    l->max_idle_ns = c->max_idle_timeout;
    l->default_timeout_ns = c->timeout;
    l->max_timeout_ns = c->max_timeout;
    l->interrupt_grace_ns = c->interrupt_grace;
    l->heartbeat_ns = c->heartbeat;
    l->spares = (uint32_t)c->spares;
}

/* The zygote lies beside this binary. */
static int zygote_path(char *out, size_t size, struct err *err)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "readlink", "/proc/self/exe: %s", strerror(errno));
    }
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL || (size_t)(slash + 1 - out) + sizeof "pyexec-zygote" > size) {
        return err_set(err, ERR_INTERNAL, "the path of pyexecd is too long");
    }
    memcpy(slash + 1, "pyexec-zygote", sizeof "pyexec-zygote");
    if (access(out, X_OK) < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "access",
                       "pyexec-zygote is not beside pyexecd (%.128s): %s", out, strerror(errno));
    }
    return 0;
}

static int start_engine(struct daemon *d, int launcher_fd, struct err *err)
{
    char zygote[4096];
    char boot[ID_ULID_LEN + 1];
    const struct config *c = &d->config;
    id_ulid(boot);
    struct engine_config ec = {
        .node_id = c->node_id,
        .boot_id = boot,
        .state_dir = c->state_dir,
        .zygote_path = zygote,
        .python = c->python,
        .preload = (const char *const *)c->preload.items,
        .work_roots = (const char *const *)c->work_root.items,
        .profile = c->profile,
        .require_confinement = c->require_confinement,
        .log_level = c->log_level,
        .server_version = PYEXEC_VERSION,
        .launcher_fd = launcher_fd,
    };
    fill_limits(c, &ec.limits);
    if (zygote_path(zygote, sizeof zygote, err) < 0) {
        return -1;
    }
    return engine_new(&ec, &d->loop, &d->engine, err);
}

static int start_rpc(struct daemon *d, struct err *err)
{
    for (unsigned i = 0; i < d->config.listen.len; i++) {
        const char *address = d->config.listen.items[i];
        if (strncmp(address, "unix:/", 6) == 0 && state_dir_parent(address + 5, err) < 0) {
            return -1;
        }
    }
    struct rpc_config rc = {
        .listen = (const char *const *)d->config.listen.items,
        .node_id = d->config.node_id,
        .max_connections = (uint32_t)d->config.max_connections,
        .max_calls = (uint32_t)d->config.max_calls,
        .heartbeat_ns = d->config.heartbeat,
    };
    return rpc_server_new(&rc, d->engine, &d->loop, &d->rpc, err);
}

static int run(struct daemon *d)
{
    struct err err = {0};
    sigset_t stop_signals;
    int lock_fd = -1;
    int launcher_fd = -1;
    pid_t launcher_pid;
    block_signals(&stop_signals);
    (void)umask(077);
    if (state_dir_open(d->config.state_dir, &lock_fd, &err) < 0 ||
        launcher_start(&launcher_fd, &launcher_pid, &err) < 0) {
        return fail(&err);
    }
    if (uv_loop_init(&d->loop) < 0) {
        return fail(&(struct err){.text = "libuv can't start"});
    }
    d->signal_fd = signalfd(-1, &stop_signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (d->signal_fd < 0 || uv_poll_init(&d->loop, &d->signals, d->signal_fd) < 0) {
        return fail(&(struct err){.text = "signalfd: can't watch for signals"});
    }
    d->signals.data = d;
    (void)uv_poll_start(&d->signals, UV_READABLE, on_signal);
    /* From here on leaving early is fine: the launcher takes every process along. */
    if (start_engine(d, launcher_fd, &err) < 0 || start_rpc(d, &err) < 0) {
        return fail(&err);
    }
    engine_on_fatal(d->engine, on_fatal, d);
    engine_on_ready(d->engine, on_ready, d);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    rpc_server_free(d->rpc);
    engine_free(d->engine);
    /* It ends by end of file, after every process below it: then nothing of ours is left. */
    while (waitpid(launcher_pid, NULL, 0) < 0 && errno == EINTR) {
    }
    int leftover = uv_loop_close(&d->loop);
    if (leftover < 0) {
        log_event(LOG_ERROR, "loop.busy", "error", uv_strerror(leftover), (char *)NULL);
        d->failed = true;
    }
    fd_close(&d->signal_fd);
    fd_close(&lock_fd);
    return d->failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    struct err err = {0};
    enum log_level level = LOG_INFO;
    if (open_standard_fds() < 0) {
        return 1;
    }
    if (config_parse(argc, argv, &d.config, &err) < 0) {
        (void)fprintf(stderr, "pyexecd: %s\n", err.text);
        return 2;
    }
    int status = 0;
    if (d.config.show_help) {
        config_print_help(stdout);
    } else if (d.config.show_version) {
        (void)printf("pyexecd %s\n", PYEXEC_VERSION);
    } else {
        (void)log_level_parse(d.config.log_level, &level);
        log_setup("daemon", level);
        status = run(&d);
    }
    config_release(&d.config);
    return status;
}
