/* messages.c: protobuf messages from the engine's objects. They borrow: valid while nothing changes. */
#include <stdlib.h>

#include "service/session/internal.h"

void message_timestamp(Google__Protobuf__Timestamp *t, int64_t real_ns)
{
    google__protobuf__timestamp__init(t);
    t->seconds = real_ns / NS_PER_SEC;
    t->nanos = (int32_t)(real_ns % NS_PER_SEC);
}

void message_duration(Google__Protobuf__Duration *d, int64_t ns)
{
    google__protobuf__duration__init(d);
    d->seconds = ns / NS_PER_SEC;
    d->nanos = (int32_t)(ns % NS_PER_SEC);
}

ProtobufCMessage *message_clone(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size > 0 ? size : 1);
    if (packed == NULL) {
        return NULL;
    }
    (void)protobuf_c_message_pack(message, packed);
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, size, packed);
    free(packed);
    return copy;
}

static Pyexec__V1__SessionState public_state(const struct session *s)
{
    switch (s->state) {
    case SESSION_STARTING:
    case SESSION_RESTARTING:
        return PYEXEC__V1__SESSION_STATE__SESSION_STATE_STARTING;
    case SESSION_IDLE:
        return session_busy(s) ? PYEXEC__V1__SESSION_STATE__SESSION_STATE_BUSY
                               : PYEXEC__V1__SESSION_STATE__SESSION_STATE_IDLE;
    case SESSION_RUNNING:
    case SESSION_BRANCHING:
    case SESSION_DYING:
        return PYEXEC__V1__SESSION_STATE__SESSION_STATE_BUSY;
    case SESSION_DEAD:
        return PYEXEC__V1__SESSION_STATE__SESSION_STATE_DEAD;
    default:
        return PYEXEC__V1__SESSION_STATE__SESSION_STATE_CLOSED;
    }
}

static void expiry(const struct session *s, struct message_session *ret)
{
    int64_t at = clock_add(s->used_ns, s->idle_ns);
    at = at > s->renewed_ns ? at : s->renewed_ns;
    at = at < s->deadline_ns ? at : s->deadline_ns;
    message_timestamp(&ret->expire, clock_real_ns() + (at - clock_mono_ns()));
    ret->m.expire_time = &ret->expire;
}

void message_session(const struct session *s, struct message_session *ret)
{
    pyexec__v1__session__init(&ret->m);
    pyexec__v1__resource_usage__init(&ret->usage);
    ret->m.session_id = (char *)(uintptr_t)s->id;
    ret->m.state = public_state(s);
    message_timestamp(&ret->create, s->create_real_ns);
    message_timestamp(&ret->used, s->used_real_ns);
    message_duration(&ret->idle, s->idle_ns);
    expiry(s, ret);
    ret->m.create_time = &ret->create;
    ret->m.last_used_time = &ret->used;
    ret->m.idle_timeout = &ret->idle;
    ret->m.n_labels = s->create->n_labels;
    ret->m.labels = (Pyexec__V1__Session__LabelsEntry **)s->create->labels;
    ret->m.parent_session_id = (char *)(uintptr_t)s->parent_id;
    ret->m.template_id = (char *)(uintptr_t)TEMPLATE_DEFAULT;
    ret->m.limits = s->create->limits;
    message_duration(&ret->cpu_user, (int64_t)s->cpu_user_ns);
    message_duration(&ret->cpu_system, (int64_t)s->cpu_system_ns);
    ret->usage.cpu_user = &ret->cpu_user;
    ret->usage.cpu_system = &ret->cpu_system;
    ret->usage.max_rss_bytes = s->max_rss_bytes;
    ret->m.usage = &ret->usage;
    ret->m.execution_count = s->execution_count;
    if (!list_empty(&s->queue)) {
        ret->m.current_execution_id =
            LIST_CONTAINER(s->queue.next, struct execution, queue_node)->execution_id;
    }
    ret->m.generation = s->generation;
    if (s->workdir != NULL) {
        ret->m.working_directory = s->workdir->path;
    }
}

void message_execution(struct execution *x, struct message_execution *ret)
{
    pyexec__v1__execution__init(&ret->m);
    ret->m.session_id = x->session_id;
    ret->m.execution_id = x->execution_id;
    message_timestamp(&ret->create, x->create_real_ns);
    ret->m.create_time = &ret->create;
    if (x->start_real_ns != 0) {
        message_timestamp(&ret->start, x->start_real_ns);
        ret->m.start_time = &ret->start;
    }
    ret->m.last_seq = execlog_last_seq(x->log);
    switch (x->state) {
    case EXECUTION_QUEUED:
        ret->m.state = PYEXEC__V1__EXECUTION__STATE__STATE_QUEUED;
        break;
    case EXECUTION_DISPATCHED:
    case EXECUTION_RUNNING:
    case EXECUTION_REPORTING:
        ret->m.state = x->waiting_for_input ? PYEXEC__V1__EXECUTION__STATE__STATE_WAITING_FOR_INPUT
                                            : PYEXEC__V1__EXECUTION__STATE__STATE_RUNNING;
        break;
    case EXECUTION_FINISHED:
        ret->m.state = PYEXEC__V1__EXECUTION__STATE__STATE_FINISHED;
        message_timestamp(&ret->end, x->end_real_ns);
        ret->m.end_time = &ret->end;
        message_timestamp(&ret->until, clock_add(x->end_real_ns, x->engine->limits.retain_ns));
        ret->m.retained_until = &ret->until;
        size_t size = 0;
        const uint8_t *packed = execlog_result(x->log, &size);
        if (packed != NULL) {
            ret->m.result = pyexec__v1__execution_result__unpack(NULL, size, packed);
        }
        break;
    }
}

void message_execution_release(struct message_execution *message)
{
    if (message->m.result != NULL) {
        pyexec__v1__execution_result__free_unpacked(message->m.result, NULL);
        message->m.result = NULL;
    }
}
