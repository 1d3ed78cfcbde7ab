/* info.c: what this server is, can do, and has room for. */
#include <stdlib.h>
#include <sys/sysinfo.h>

#include "service/base/version.h"
#include "service/session/internal.h"

#define INFO_FEATURES_MAX 16

struct answer {
    Pyexec__V1__GetServerInfoResponse m;
    Google__Protobuf__Timestamp start, now;
    Pyexec__V1__Template template;
    Pyexec__V1__Template *templates[1];
    Pyexec__V1__ResourceLimits defaults, most;
    Google__Protobuf__Duration default_timeout, max_timeout;
    Pyexec__V1__Capacity capacity;
    char *features[INFO_FEATURES_MAX];
};

static void fill_limits(struct answer *a, const struct engine_limits *l)
{
    pyexec__v1__resource_limits__init(&a->defaults);
    pyexec__v1__resource_limits__init(&a->most);
    message_duration(&a->default_timeout, l->default_timeout_ns);
    message_duration(&a->max_timeout, l->max_timeout_ns);
    a->defaults.max_output_bytes = l->default_output_bytes;
    a->defaults.max_timeout = &a->default_timeout;
    a->most.max_output_bytes = l->max_output_bytes;
    a->most.max_timeout = &a->max_timeout;
    a->m.default_limits = &a->defaults;
    a->m.max_limits = &a->most;
}

static void fill_capacity(struct answer *a, const struct engine *e)
{
    struct sysinfo s;
    pyexec__v1__capacity__init(&a->capacity);
    a->capacity.sessions = e->session_count;
    a->capacity.max_sessions = e->limits.max_sessions;
    a->capacity.running_executions = e->running_count;
    a->capacity.max_running_executions = e->limits.max_running;
    a->capacity.queued_executions = e->queued_count;
    if (sysinfo(&s) == 0) {
        a->capacity.memory_limit_bytes = (uint64_t)s.totalram * s.mem_unit;
        a->capacity.memory_used_bytes =
            (uint64_t)(s.totalram - s.freeram - s.bufferram) * s.mem_unit;
    }
    a->m.capacity = &a->capacity;
}

static void fill_features(struct answer *a, const Pyexec__Internal__ZygoteReady *facts)
{
    static const char *const always[] = {"fork",  "stdin",      "display", "changed_files",
                                         "files", "background", "watch",   "queue",
                                         "block", "throw_away"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        a->features[n++] = (char *)(uintptr_t)always[i];
    }
    if (facts != NULL && facts->has_ipython) {
        a->features[n++] = (char *)(uintptr_t) "ipython_traceback";
    }
    if (facts != NULL && facts->n_confinement > 0) {
        a->features[n++] =
            (char *)(uintptr_t)(facts->n_missing_confinement == 0 ? "confinement"
                                                                  : "confinement.partial");
    }
    a->m.features = a->features;
    a->m.n_features = n;
}

void engine_get_server_info(struct engine *e, const struct engine_caller *caller,
                            const Pyexec__V1__GetServerInfoRequest *q, engine_done_fn *done,
                            void *ctx)
{
    const Pyexec__Internal__ZygoteReady *facts = e->zygotes.facts;
    struct answer a = {0};
    (void)caller;
    (void)q;
    pyexec__v1__get_server_info_response__init(&a.m);
    pyexec__v1__template__init(&a.template);
    a.m.server_version = e->server_version;
    a.m.api_version = (char *)(uintptr_t)PYEXEC_API_VERSION;
    a.m.node_id = e->node_id;
    a.m.boot_id = e->boot_id;
    message_timestamp(&a.start, e->start_real_ns);
    message_timestamp(&a.now, clock_real_ns());
    a.m.start_time = &a.start;
    a.m.server_time = &a.now;
    a.template.template_id = (char *)(uintptr_t)TEMPLATE_DEFAULT;
    a.template.description = (char *)(uintptr_t) "CPython with the modules that were preloaded";
    if (facts != NULL) {
        a.m.python_version = facts->python_version;
        a.template.n_preloaded_modules = facts->n_modules;
        a.template.preloaded_modules = facts->modules;
    }
    a.templates[0] = &a.template;
    a.m.n_templates = 1;
    a.m.templates = a.templates;
    fill_features(&a, facts);
    fill_limits(&a, &e->limits);
    fill_capacity(&a, e);
    a.m.draining = e->draining;
    done(ctx, &a.m.base, NULL);
}
