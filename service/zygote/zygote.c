/* zygote.c: a warm interpreter that forks sessions.
 *
 * Theory of operation. The first frame is CONFIG, a template: start Python, import the preload list,
 * settle (nothing may run besides this thread; memory is frozen so that pages stay shared), give up
 * what sessions must not inherit, answer READY. From then on the process runs no Python but that
 * of the fork protocol: it waits for frames and SIGCHLD (control.c), forks on SPAWN (spawn.c), and
 * buries what dies (reap.c). Each session is its child, and so is whatever a dead session left.
 *
 * It ends when the daemon's socket reads end of file, or when the launcher dies: then it kills
 * everything below itself. When it is killed itself its sessions go on below the launcher. */
#include "service/zygote/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "internal/zygote.pb-c.h"
#include "service/base/fd.h"
#include "service/base/log.h"
#include "service/pyembed/pyembed.h"
#include "service/wire/zygote_frames.h"
#include "service/zygote/control.h"
#include "service/zygote/spawn.h"

#define SPAWN_FDS 4
#define ERROR_TEXT_MAX 512

struct zygote {
    struct control control;
    Pyexec__Internal__ZygoteConfig *config;
    struct sbx_plan plan;
    struct spawn_template template;
    char **modules; /* borrowed from the configuration */
    size_t module_count;
    char **failed; /* owned: "module: error" */
    size_t failed_count;
    bool has_ipython;
};

static struct zygote zygote;

/* Waits for CONFIG. SIGTERM still kills: there is nothing to clean up. */
static int read_config(struct zygote *z, struct err *err)
{
    struct wire_frame frame;
    int rc;
    do {
        rc = wire_reader_wait(&z->control.in, &frame);
    } while (rc == -EINTR);
    if (rc == 0) {
        return err_set(err, ERR_INTERNAL, "the daemon is gone");
    }
    if (rc < 0 || frame.type != ZYGOTE_FRAME_CONFIG) {
        return err_sys(err, ERR_INTERNAL, rc < 0 ? -rc : EPROTO, "config",
                       "the first frame is not a configuration");
    }
    wire_frame_close_fds(&frame);
    z->config = pyexec__internal__zygote_config__unpack(NULL, frame.length, frame.payload);
    if (z->config == NULL) {
        return err_set(err, ERR_INTERNAL, "the configuration can't be decoded");
    }
    return 0;
}

static int plan_sandbox(struct zygote *z, struct err *err)
{
    const Pyexec__Internal__SandboxLimits *l = z->config->limits;
    struct sbx_limits limits = {0};
    struct sbx_facts facts;
    enum sbx_profile profile;
    if (l != NULL) {
        limits = (struct sbx_limits){
            .open_files = l->open_files,
            .processes = l->processes,
            .file_size_bytes = l->file_size_bytes,
            .cpu_seconds = l->cpu_seconds,
            .address_space_bytes = l->address_space_bytes,
        };
    }
    sbx_facts_read(&facts);
    if (sbx_profile_parse(z->config->profile, &profile, err) < 0 ||
        sbx_plan_make(profile, &limits, &facts, z->config->require_confinement, &z->plan, err) <
            0) {
        return -1;
    }
    return sbx_prepare(&z->plan, err);
}

/* A module that can't be imported is the operator's to see, not a reason to serve nothing. */
static int preload(struct zygote *z, struct err *err)
{
    size_t n = z->config->n_preload;
    char text[ERROR_TEXT_MAX];
    z->modules = calloc(n + 1, sizeof *z->modules);
    z->failed = calloc(n + 1, sizeof *z->failed);
    if (z->modules == NULL || z->failed == NULL) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the list of modules");
    }
    for (size_t i = 0; i < n; i++) {
        char *module = z->config->preload[i];
        if (pyembed_import(module, text, sizeof text) == 0) {
            z->modules[z->module_count++] = module;
            continue;
        }
        log_event(LOG_WARN, "preload.failed", "module", module, "error", text, (char *)NULL);
        if (asprintf(&z->failed[z->failed_count], "%s: %s", module, text) < 0) {
            return err_set(err, ERR_NO_MEMORY, "no memory for the list of modules");
        }
        z->failed_count++;
    }
    z->has_ipython = pyembed_available("IPython");
    return pyembed_settle(err);
}

static int give_up_privileges(struct zygote *z, struct err *err)
{
    int failed = 0;
    const char *step = sbx_apply(&z->plan, SBX_IN_ZYGOTE, &failed);
    if (step != NULL) {
        return err_sys(err, ERR_INTERNAL, failed, step, "confinement step %s failed: %s", step,
                       strerror(failed));
    }
    return 0;
}

static int prepare(struct zygote *z, struct err *err)
{
    if (plan_sandbox(z, err) < 0 || pyembed_init(z->config->python, err) < 0 ||
        preload(z, err) < 0 || give_up_privileges(z, err) < 0) {
        return -1;
    }
    z->template = (struct spawn_template){
        .plan = &z->plan,
        .warm_up_code = z->config->warm_up[0] != '\0' ? z->config->warm_up : NULL,
    };
    return 0;
}

static void say_error(struct zygote *z, const struct err *err)
{
    Pyexec__Internal__ZygoteReady m = PYEXEC__INTERNAL__ZYGOTE_READY__INIT;
    log_err(LOG_ERROR, "zygote.start", NULL, err);
    m.pid = getpid();
    m.error = (char *)(uintptr_t)err->text;
    control_send(&z->control, ZYGOTE_FRAME_READY, &m.base);
}

static void say_ready(struct zygote *z)
{
    Pyexec__Internal__ZygoteReady m = PYEXEC__INTERNAL__ZYGOTE_READY__INIT;
    char *steps[SBX_STEPS_MAX];
    char *missing[SBX_STEPS_MAX];
    char missing_text[SBX_STEPS_MAX][128];
    for (unsigned i = 0; i < z->plan.step_count; i++) {
        steps[i] = (char *)(uintptr_t)z->plan.steps[i]->name;
    }
    for (unsigned i = 0; i < z->plan.missing_count; i++) {
        (void)snprintf(missing_text[i], sizeof missing_text[i], "%s: %s", z->plan.missing[i].name,
                       z->plan.missing[i].reason);
        missing[i] = missing_text[i];
    }
    m.pid = getpid();
    m.python_version = (char *)(uintptr_t)pyembed_version();
    m.modules = z->modules;
    m.n_modules = z->module_count;
    m.failed_modules = z->failed;
    m.n_failed_modules = z->failed_count;
    m.confinement = steps;
    m.n_confinement = z->plan.step_count;
    m.missing_confinement = missing;
    m.n_missing_confinement = z->plan.missing_count;
    m.has_ipython = z->has_ipython;
    control_send(&z->control, ZYGOTE_FRAME_READY, &m.base);
}

static bool on_frame(struct control *c, struct wire_frame *frame)
{
    if (frame->type == ZYGOTE_FRAME_SPAWN) {
        return spawn_session(c, &zygote.template, frame);
    }
    wire_frame_close_fds(frame);
    return false;
}

static void release(struct zygote *z)
{
    for (size_t i = 0; i < z->failed_count; i++) {
        free(z->failed[i]);
    }
    free(z->failed);
    free(z->modules);
    sbx_plan_release(&z->plan);
    pyexec__internal__zygote_config__free_unpacked(z->config, NULL);
}

/* From here on the process answers for its children. */
static int take_charge(struct zygote *z, struct err *err)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return err_sys(err, ERR_INTERNAL, errno, "subreaper", "the kernel has no child subreapers");
    }
    return control_watch(&z->control, err);
}

static int serve(struct zygote *z)
{
    struct err err = {0};
    if (read_config(z, &err) < 0) {
        log_err(LOG_ERROR, "zygote.start", NULL, &err);
        return 1;
    }
    enum log_level level = LOG_INFO;
    (void)log_level_parse(z->config->log_level, &level);
    log_setup("zygote", level);
    if (prepare(z, &err) < 0 || take_charge(z, &err) < 0) {
        say_error(z, &err);
        return 1;
    }
    say_ready(z);
    control_run(&z->control);
    control_kill_everything(&z->control);
    return 0;
}

int zygote_run(int fd)
{
    (void)fd_set_cloexec(fd, true); /* a module being imported may start a program */
    (void)prctl(PR_SET_NAME, "pyexec-zygote");
    (void)signal(SIGPIPE, SIG_IGN);
    log_setup("zygote", LOG_INFO);
    control_init(&zygote.control, fd, SPAWN_FDS);
    zygote.control.on_frame = on_frame;
    int status = serve(&zygote);
    control_release(&zygote.control);
    release(&zygote);
    return status;
}
