/* reflection.c: grpc.reflection, v1 and v1alpha: one answer a question, OK when the client has no more.
 *
 * Runs on completion threads alone: receive → answer → receive, one operation in flight. The messages of the
 * two versions have the same fields and numbers, so those of v1 serve both. */
#include <stdlib.h>
#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/descriptors.h"
#include "service/rpc/internal.h"
#include "service/rpc/method.h"
#include "service/rpc/request.h"

#define QUESTION_MAX (64u << 10)
#define SERVICES_MAX 64

#define REQUEST(kind) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##kind
#define RESPONSE(kind) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##kind

struct reflection {
    struct call call;
    grpc_byte_buffer *question; /* out-parameter of the receive */
};

static void receive(struct reflection *r);

static void on_sent(struct tag *tag, bool ok)
{
    struct call *call = LIST_CONTAINER(tag, struct call, sent);
    if (ok) {
        receive(LIST_CONTAINER(call, struct reflection, call));
    }
    call_unref(call);
}

static void answer(struct reflection *r, Grpc__Reflection__V1__ServerReflectionRequest *question,
                   Grpc__Reflection__V1__ServerReflectionResponse *response)
{
    grpc_slice slice;
    response->valid_host = question->host;
    response->original_request = question;
    if (call_pack(&response->base, RPC_SEND_MAX, &slice)) {
        (void)call_send(&r->call, &(struct call_send){.message = &slice}, on_sent);
    } else {
        struct err err = {0};
        (void)err_set(&err, ERR_QUOTA_EXCEEDED, "the descriptors are too large for one message");
        call_reply_err(&r->call, &err);
    }
}

static void answer_not_found(struct reflection *r,
                             Grpc__Reflection__V1__ServerReflectionRequest *question,
                             const char *text)
{
    Grpc__Reflection__V1__ServerReflectionResponse response =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__ErrorResponse e = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    e.error_code = GRPC_STATUS_NOT_FOUND;
    e.error_message = (char *)text;
    response.message_response_case = RESPONSE(ERROR_RESPONSE);
    response.error_response = &e;
    answer(r, question, &response);
}

struct file_list {
    ProtobufCBinaryData files[DESCRIPTORS_FILES_MAX];
    size_t n;
    const struct descriptors_file *first; /* already in */
};

static void add(struct file_list *list, const struct descriptors_file *file)
{
    list->files[list->n].data = (uint8_t *)file->data;
    list->files[list->n++].len = file->len;
}

static int add_import(const struct descriptors_file *file, void *arg)
{
    struct file_list *list = arg;
    if (file != list->first) {
        add(list, file);
    }
    return 0;
}

/* The file, first, and all that it imports: tools that ask for imports one by one are content, too. */
static void answer_file(struct reflection *r,
                        Grpc__Reflection__V1__ServerReflectionRequest *question,
                        const struct descriptors_file *file)
{
    Grpc__Reflection__V1__ServerReflectionResponse response =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__FileDescriptorResponse files =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    struct file_list list = {.first = file};
    if (file == NULL) {
        answer_not_found(r, question, "no such file or symbol");
        return;
    }
    add(&list, file);
    (void)descriptors_visit(file, add_import, &list);
    files.n_file_descriptor_proto = list.n;
    files.file_descriptor_proto = list.files;
    response.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    response.file_descriptor_response = &files;
    answer(r, question, &response);
}

static void answer_symbol(struct reflection *r,
                          Grpc__Reflection__V1__ServerReflectionRequest *question)
{
    const char *name = question->file_containing_symbol;
    const struct descriptors_symbol *symbol = descriptors_find_symbol(name, strlen(name));
    answer_file(r, question, symbol != NULL ? &descriptors_files[symbol->file] : NULL);
}

/* proto3 has no extensions: every message has none of them. */
static void answer_extensions(struct reflection *r,
                              Grpc__Reflection__V1__ServerReflectionRequest *question)
{
    Grpc__Reflection__V1__ServerReflectionResponse response =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__ExtensionNumberResponse none =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    const char *name = question->all_extension_numbers_of_type;
    const struct descriptors_symbol *symbol = descriptors_find_symbol(name, strlen(name));
    if (symbol == NULL || symbol->kind != DESCRIPTORS_MESSAGE) {
        answer_not_found(r, question, "no such message");
        return;
    }
    none.base_type_name = (char *)name;
    response.message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
    response.all_extension_numbers_response = &none;
    answer(r, question, &response);
}

static void answer_services(struct reflection *r,
                            Grpc__Reflection__V1__ServerReflectionRequest *question)
{
    Grpc__Reflection__V1__ServerReflectionResponse response =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    Grpc__Reflection__V1__ListServiceResponse list =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    Grpc__Reflection__V1__ServiceResponse services[SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES_MAX];
    for (size_t i = 0; i < descriptors_symbols_len && list.n_service < SERVICES_MAX; i++) {
        if (descriptors_symbols[i].kind == DESCRIPTORS_SERVICE &&
            rpc_service_known(descriptors_symbols[i].name)) {
            Grpc__Reflection__V1__ServiceResponse *s = &services[list.n_service];
            grpc__reflection__v1__service_response__init(s);
            s->name = (char *)descriptors_symbols[i].name;
            pointers[list.n_service++] = s;
        }
    }
    list.service = pointers;
    response.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    response.list_services_response = &list;
    answer(r, question, &response);
}

static void dispatch(struct reflection *r, Grpc__Reflection__V1__ServerReflectionRequest *question)
{
    struct err err = {0};
    const char *file = question->file_by_filename;
    switch (question->message_request_case) {
    case REQUEST(FILE_BY_FILENAME):
        answer_file(r, question, descriptors_find_file(file, strlen(file)));
        break;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        answer_symbol(r, question);
        break;
    case REQUEST(FILE_CONTAINING_EXTENSION):
        answer_not_found(r, question, "no such extension");
        break;
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_extensions(r, question);
        break;
    case REQUEST(LIST_SERVICES):
        answer_services(r, question);
        break;
    default:
        (void)err_set(&err, ERR_INVALID_FIELD, "the reflection request asks for nothing known");
        call_reply_err(&r->call, &err);
        break;
    }
}

static void on_question(struct tag *tag, bool ok)
{
    struct call *call = LIST_CONTAINER(tag, struct call, sent);
    struct reflection *r = LIST_CONTAINER(call, struct reflection, call);
    grpc_byte_buffer *bytes = ok ? r->question : NULL;
    ProtobufCMessage *m = NULL;
    struct err err = {0};
    r->question = NULL;
    if (bytes == NULL) {
        /* Half-closed: done. Cancelled: sending fails, which is fine. */
        (void)call_send(call, &(struct call_send){.end = true}, NULL);
    } else if (grpc_byte_buffer_length(bytes) > QUESTION_MAX) {
        (void)err_set(&err, ERR_INVALID_FIELD, "a reflection request has at most %u bytes",
                      QUESTION_MAX);
        call_reply_err(call, &err);
    } else if (request_decode_payload(&grpc__reflection__v1__server_reflection_request__descriptor,
                                      bytes, &m, &err) < 0) {
        call_reply_err(call, &err);
    } else {
        dispatch(r, (void *)m);
        protobuf_c_message_free_unpacked(m, NULL);
    }
    if (bytes != NULL) {
        grpc_byte_buffer_destroy(bytes);
    }
    call_unref(call);
}

static void receive(struct reflection *r)
{
    r->question = NULL;
    (void)call_receive(&r->call, &r->question, on_question);
}

static void on_closed(struct tag *tag, bool ok)
{
    (void)ok;
    call_unref(LIST_CONTAINER(tag, struct call, closed));
}

static void arrived(struct call *call)
{
    if (call_watch_close(call, on_closed) == 0) {
        receive(LIST_CONTAINER(call, struct reflection, call));
    }
}

const struct call_type call_type_reflection = {
    .size = sizeof(struct reflection),
    .streams_requests = true,
    .arrived = arrived,
};
