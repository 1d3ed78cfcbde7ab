/* executions.c: the unary calls of ExecutionService. */
#include <stdlib.h>

#include "clients/c/spec.h"
#include "clients/c/transport.h"
#include "clients/c/view.h"

#define METHOD(name, descriptor) \
    ((struct method){"/pyexec.v1.ExecutionService/" name, &pyexec__v1__##descriptor##__descriptor})
#define POLL_MARGIN_MS 30000 /* a long poll answers this much before its deadline */

static int no_memory(struct pyexec_error *err)
{
    return transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
}

static int missing(const char *what, struct pyexec_error *err)
{
    return transport_fail(err, PYEXEC_CODE_INTERNAL, "the server's answer has no %s", what);
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* --- run -------------------------------------------------------------------------------------- */

void pyexec_run_free(struct pyexec_run *run)
{
    if (run == NULL) {
        return;
    }
    pyexec_result_free(run->result);
    pyexec__v1__run_response__free_unpacked((Pyexec__V1__RunResponse *)run->message, NULL);
    free(run);
}

static int make_run(Pyexec__V1__RunResponse *m, struct pyexec_run **ret_run,
                    struct pyexec_error *err)
{
    struct pyexec_run *run = calloc(1, sizeof *run);
    struct pyexec_result *result = m->result != NULL ? view_result(m->result, NULL) : NULL;
    if (run == NULL || result == NULL) {
        bool absent = m->result == NULL;
        pyexec_result_free(result);
        free(run);
        pyexec__v1__run_response__free_unpacked(m, NULL);
        return absent ? missing("result", err) : no_memory(err);
    }
    *run = (struct pyexec_run){
        .result = result,
        .stdout_data = m->stdout.len > 0 ? m->stdout.data : (const uint8_t *)"",
        .stdout_len = m->stdout.len,
        .stderr_data = m->stderr.len > 0 ? m->stderr.data : (const uint8_t *)"",
        .stderr_len = m->stderr.len,
        .message = m,
    };
    *ret_run = run;
    return 0;
}

int pyexec_run(struct pyexec_client *client, const struct pyexec_spec *spec,
               struct pyexec_run **ret_run, struct pyexec_error *err)
{
    struct spec_message m;
    ProtobufCMessage *response;
    Pyexec__V1__RunRequest request = PYEXEC__V1__RUN_REQUEST__INIT;
    if (spec_message_init(&m, spec, err) < 0) {
        return -1;
    }
    request.session_id = (char *)or_empty(spec->session_id);
    request.execution_id = spec->execution_id != NULL ? (char *)spec->execution_id : m.execution_id;
    request.spec = &m.spec;
    int r = transport_unary(client, &METHOD("Run", run_response), request.session_id, &request.base,
                            -1, &response, err);
    spec_message_release(&m);
    return r < 0 ? -1 : make_run((Pyexec__V1__RunResponse *)response, ret_run, err);
}

/* --- executions ------------------------------------------------------------------------------- */

struct owned_execution {
    struct pyexec_execution execution; /* first: what the caller has */
    ProtobufCMessage *owner;
};

void pyexec_execution_free(struct pyexec_execution *execution)
{
    if (execution == NULL) {
        return;
    }
    struct owned_execution *o = (struct owned_execution *)execution;
    pyexec_result_free(execution->result);
    protobuf_c_message_free_unpacked(o->owner, NULL);
    free(o);
}

/* Takes `take_owner`, also on failure. */
static int make_execution(const Pyexec__V1__Execution *m, ProtobufCMessage *take_owner,
                          struct pyexec_execution **ret_execution, struct pyexec_error *err)
{
    struct owned_execution *o = m != NULL ? calloc(1, sizeof *o) : NULL;
    struct pyexec_result *result = NULL;
    if (o != NULL && m->result != NULL) {
        result = view_result(m->result, NULL);
    }
    if (o == NULL || (m->result != NULL && result == NULL)) {
        bool absent = m == NULL;
        free(o);
        protobuf_c_message_free_unpacked(take_owner, NULL);
        return absent ? missing("execution", err) : no_memory(err);
    }
    o->owner = take_owner;
    o->execution = (struct pyexec_execution){
        .session_id = m->session_id,
        .execution_id = m->execution_id,
        .state = (enum pyexec_execution_state)m->state,
        .create_ns = view_time_ns(m->create_time),
        .start_ns = view_time_ns(m->start_time),
        .end_ns = view_time_ns(m->end_time),
        .last_seq = m->last_seq,
        .result = result,
        .message = m,
    };
    *ret_execution = &o->execution;
    return 0;
}

int pyexec_start(struct pyexec_client *client, const struct pyexec_spec *spec,
                 struct pyexec_execution **ret_execution, struct pyexec_error *err)
{
    struct spec_message m;
    ProtobufCMessage *response;
    Pyexec__V1__StartExecutionRequest request = PYEXEC__V1__START_EXECUTION_REQUEST__INIT;
    if (spec_message_init(&m, spec, err) < 0) {
        return -1;
    }
    request.session_id = (char *)or_empty(spec->session_id);
    request.execution_id = spec->execution_id != NULL ? (char *)spec->execution_id : m.execution_id;
    request.spec = &m.spec;
    int r = transport_unary(client, &METHOD("StartExecution", start_execution_response),
                            request.session_id, &request.base, 0, &response, err);
    spec_message_release(&m);
    return r < 0 ? -1
                 : make_execution(((Pyexec__V1__StartExecutionResponse *)response)->execution,
                                  response, ret_execution, err);
}

int pyexec_get_execution(struct pyexec_client *client, const char *session_id,
                         const char *execution_id, int64_t wait_ms,
                         struct pyexec_execution **ret_execution, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Google__Protobuf__Duration wait;
    Pyexec__V1__GetExecutionRequest request = PYEXEC__V1__GET_EXECUTION_REQUEST__INIT;
    request.session_id = (char *)or_empty(session_id);
    request.execution_id = (char *)or_empty(execution_id);
    request.wait = view_duration(&wait, wait_ms);
    int64_t deadline = wait_ms > 0 ? wait_ms + POLL_MARGIN_MS : 0;
    if (transport_unary(client, &METHOD("GetExecution", get_execution_response), request.session_id,
                        &request.base, deadline, &response, err) < 0) {
        return -1;
    }
    return make_execution(((Pyexec__V1__GetExecutionResponse *)response)->execution, response,
                          ret_execution, err);
}

int pyexec_interrupt(struct pyexec_client *client, const char *session_id, const char *execution_id,
                     enum pyexec_interrupt_mode mode, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__InterruptExecutionRequest request = PYEXEC__V1__INTERRUPT_EXECUTION_REQUEST__INIT;
    request.session_id = (char *)or_empty(session_id);
    request.execution_id = (char *)or_empty(execution_id);
    request.mode = (Pyexec__V1__InterruptExecutionRequest__Mode)mode;
    if (transport_unary(client, &METHOD("InterruptExecution", interrupt_execution_response),
                        request.session_id, &request.base, 0, &response, err) < 0) {
        return -1;
    }
    protobuf_c_message_free_unpacked(response, NULL);
    return 0;
}

int pyexec_write_stdin(struct pyexec_client *client, const char *session_id,
                       const char *execution_id, uint64_t offset, const void *data, size_t len,
                       bool eof, uint64_t *ret_next_offset, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__WriteStdinRequest request = PYEXEC__V1__WRITE_STDIN_REQUEST__INIT;
    request.session_id = (char *)or_empty(session_id);
    request.execution_id = (char *)or_empty(execution_id);
    request.offset = offset;
    request.data.data = (uint8_t *)data;
    request.data.len = len;
    request.eof = eof;
    if (transport_unary(client, &METHOD("WriteStdin", write_stdin_response), request.session_id,
                        &request.base, 0, &response, err) < 0) {
        return -1;
    }
    *ret_next_offset = ((Pyexec__V1__WriteStdinResponse *)response)->next_offset;
    protobuf_c_message_free_unpacked(response, NULL);
    return 0;
}
