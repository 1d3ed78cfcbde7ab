/* sessions.c: the calls of SessionService. */
#include <stdlib.h>

#include "clients/c/spec.h"
#include "clients/c/transport.h"
#include "clients/c/view.h"

#define METHOD(name, descriptor) \
    ((struct method){"/pyexec.v1.SessionService/" name, &pyexec__v1__##descriptor##__descriptor})

struct owned_session {
    struct pyexec_session session; /* first: what the caller has */
    ProtobufCMessage *owner;
};

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

void pyexec_session_free(struct pyexec_session *session)
{
    if (session == NULL) {
        return;
    }
    struct owned_session *o = (struct owned_session *)session;
    protobuf_c_message_free_unpacked(o->owner, NULL);
    free(o);
}

/* Takes `take_owner`, also on failure. */
static int make_session(const Pyexec__V1__Session *m, ProtobufCMessage *take_owner,
                        struct pyexec_session **ret_session, struct pyexec_error *err)
{
    struct owned_session *o = m != NULL ? calloc(1, sizeof *o) : NULL;
    if (o == NULL) {
        protobuf_c_message_free_unpacked(take_owner, NULL);
        return m == NULL
                   ? transport_fail(err, PYEXEC_CODE_INTERNAL, "the server's answer has no session")
                   : transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
    }
    view_session(m, &o->session);
    o->owner = take_owner;
    *ret_session = &o->session;
    return 0;
}

int pyexec_create_session(struct pyexec_client *client, const struct pyexec_session_spec *spec,
                          struct pyexec_session **ret_session, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Google__Protobuf__Duration idle;
    struct pair_map labels;
    struct pair_map env;
    Pyexec__V1__CreateSessionRequest request = PYEXEC__V1__CREATE_SESSION_REQUEST__INIT;
    if (pair_map_init(&labels, &pyexec__v1__create_session_request__labels_entry__descriptor,
                      spec->labels, spec->n_labels, err) < 0) {
        return -1;
    }
    if (pair_map_init(&env, &pyexec__v1__create_session_request__env_entry__descriptor, spec->env,
                      spec->n_env, err) < 0) {
        pair_map_release(&labels);
        return -1;
    }
    request.request_id = (char *)or_empty(spec->request_id);
    request.template_id = (char *)or_empty(spec->template_id);
    request.working_directory = (char *)or_empty(spec->working_directory);
    request.idle_timeout = view_duration(&idle, spec->idle_timeout_ms);
    request.labels = (Pyexec__V1__CreateSessionRequest__LabelsEntry **)labels.pointers;
    request.n_labels = labels.len;
    request.env = (Pyexec__V1__CreateSessionRequest__EnvEntry **)env.pointers;
    request.n_env = env.len;
    int r = transport_unary(client, &METHOD("CreateSession", create_session_response), NULL,
                            &request.base, 0, &response, err);
    pair_map_release(&labels);
    pair_map_release(&env);
    return r < 0 ? -1
                 : make_session(((Pyexec__V1__CreateSessionResponse *)response)->session, response,
                                ret_session, err);
}

int pyexec_get_session(struct pyexec_client *client, const char *session_id,
                       struct pyexec_session **ret_session, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__GetSessionRequest request = PYEXEC__V1__GET_SESSION_REQUEST__INIT;
    request.session_id = (char *)or_empty(session_id);
    if (transport_unary(client, &METHOD("GetSession", get_session_response), request.session_id,
                        &request.base, 0, &response, err) < 0) {
        return -1;
    }
    return make_session(((Pyexec__V1__GetSessionResponse *)response)->session, response,
                        ret_session, err);
}

int pyexec_restart_session(struct pyexec_client *client, const char *session_id,
                           struct pyexec_session **ret_session, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__RestartSessionRequest request = PYEXEC__V1__RESTART_SESSION_REQUEST__INIT;
    request.session_id = (char *)or_empty(session_id);
    if (transport_unary(client, &METHOD("RestartSession", restart_session_response),
                        request.session_id, &request.base, 0, &response, err) < 0) {
        return -1;
    }
    return make_session(((Pyexec__V1__RestartSessionResponse *)response)->session, response,
                        ret_session, err);
}

int pyexec_delete_session(struct pyexec_client *client, const char *session_id,
                          struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__DeleteSessionRequest request = PYEXEC__V1__DELETE_SESSION_REQUEST__INIT;
    request.session_id = (char *)or_empty(session_id);
    if (transport_unary(client, &METHOD("DeleteSession", delete_session_response),
                        request.session_id, &request.base, 0, &response, err) < 0) {
        return -1;
    }
    protobuf_c_message_free_unpacked(response, NULL);
    return 0;
}

int pyexec_list_sessions(struct pyexec_client *client, const char *page_token,
                         struct pyexec_session_list **ret_list, struct pyexec_error *err)
{
    ProtobufCMessage *response;
    Pyexec__V1__ListSessionsRequest request = PYEXEC__V1__LIST_SESSIONS_REQUEST__INIT;
    request.page_token = (char *)or_empty(page_token);
    if (transport_unary(client, &METHOD("ListSessions", list_sessions_response), NULL,
                        &request.base, 0, &response, err) < 0) {
        return -1;
    }
    Pyexec__V1__ListSessionsResponse *m = (Pyexec__V1__ListSessionsResponse *)response;
    struct pyexec_session_list *list = calloc(1, sizeof *list);
    struct pyexec_session *sessions = calloc(m->n_sessions + 1, sizeof *sessions);
    if (list == NULL || sessions == NULL) {
        free(list);
        free(sessions);
        protobuf_c_message_free_unpacked(response, NULL);
        return transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; i < m->n_sessions; i++) {
        view_session(m->sessions[i], &sessions[i]);
    }
    *list = (struct pyexec_session_list){sessions, m->n_sessions, m->next_page_token, m};
    *ret_list = list;
    return 0;
}

void pyexec_session_list_free(struct pyexec_session_list *list)
{
    if (list == NULL) {
        return;
    }
    free((void *)list->sessions);
    pyexec__v1__list_sessions_response__free_unpacked(
        (Pyexec__V1__ListSessionsResponse *)list->message, NULL);
    free(list);
}
