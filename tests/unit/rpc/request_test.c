/* Bytes of clients: strings, sizes, nonsense. */
#include <grpc/slice.h>
#include <stdlib.h>

#include "proto/pyexec_v1.h"
#include "service/rpc/request.h"
#include "tests/support/check.h"

#define EXECUTE (&pyexec__v1__execute_request__descriptor)

/* Packs with the given code and env entry, decodes, and returns the field that err names. */
static const char *bad_field(const char *code, size_t code_len, const char *key, const char *value)
{
    static char field[ERR_DETAIL_MAX];
    uint8_t spec[512];
    uint8_t whole[600];
    uint8_t entry[200];
    size_t n = 0;
    size_t e = 0;
    struct err err = {0};
    ProtobufCMessage *m = NULL;
    entry[e++] = 0x0a; /* key = 1 */
    entry[e++] = (uint8_t)strlen(key);
    memcpy(entry + e, key, strlen(key));
    e += strlen(key);
    entry[e++] = 0x12; /* value = 2 */
    entry[e++] = (uint8_t)strlen(value);
    memcpy(entry + e, value, strlen(value));
    e += strlen(value);
    spec[n++] = 0x0a; /* code = 1 */
    spec[n++] = (uint8_t)code_len;
    memcpy(spec + n, code, code_len);
    n += code_len;
    spec[n++] = 0x32; /* env = 6 */
    spec[n++] = (uint8_t)e;
    memcpy(spec + n, entry, e);
    n += e;
    whole[0] = 0x1a; /* spec = 3 */
    whole[1] = (uint8_t)n;
    memcpy(whole + 2, spec, n);
    if (request_decode(EXECUTE, whole, n + 2, &m, &err) == 0) {
        protobuf_c_message_free_unpacked(m, NULL);
        return NULL;
    }
    CHECK_EQ_INT(err.code, ERR_INVALID_FIELD);
    CHECK(m == NULL);
    (void)snprintf(field, sizeof field, "%s", err.detail);
    return field;
}

static void test_strings(void)
{
    CHECK(bad_field("pass", 4, "K", "v") == NULL);
    CHECK(bad_field("\xE2\x82\xAC", 3, "K", "v") == NULL);
    CHECK_STR(bad_field("a\0b", 3, "K", "v"), "spec.code");
    CHECK_STR(bad_field("\xff", 1, "K", "v"), "spec.code");
    CHECK_STR(bad_field("a", 1, "\xff", "v"), "spec.env.key");
    CHECK_STR(bad_field("a", 1, "K", "\xED\xA0\x80"), "spec.env.value");
}

static void test_bytes_fields_take_anything(void)
{
    static const uint8_t wire[] = {0x1a, 4, 0x2a, 2, 0x00, 0xff}; /* spec.stdin */
    struct err err = {0};
    ProtobufCMessage *m = NULL;
    CHECK_EQ_INT(request_decode(EXECUTE, wire, sizeof wire, &m, &err), 0);
    const Pyexec__V1__ExecuteRequest *r = (const void *)m;
    CHECK_EQ_INT(r->spec->stdin.len, 2);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void test_nothing_is_a_message(void)
{
    struct err err = {0};
    ProtobufCMessage *m = NULL;
    CHECK_EQ_INT(request_decode(EXECUTE, NULL, 0, &m, &err), 0);
    CHECK_STR(request_session_id(m), "");
    protobuf_c_message_free_unpacked(m, NULL);
    CHECK_EQ_INT(request_decode_payload(EXECUTE, NULL, &m, &err), -1);
    CHECK_EQ_INT(err.code, ERR_INVALID_FIELD);
}

/* Two bytes each, and dozens in memory: refused before the memory is there. */
static void test_budget(void)
{
    enum { N = 100000 };
    uint8_t *wire = malloc(2 * N);
    struct err err = {0};
    ProtobufCMessage *m = NULL;
    for (size_t i = 0; i < N; i++) {
        wire[2 * i] = 0x2a; /* CreateSessionRequest.labels = 5, empty */
        wire[2 * i + 1] = 0;
    }
    CHECK_EQ_INT(
        request_decode(&pyexec__v1__create_session_request__descriptor, wire, 2 * N, &m, &err), -1);
    CHECK(strstr(err.text, "too many parts") != NULL);
    /* As many as the engine's limit of entries pass, so that it is the engine that names the limit. */
    CHECK_EQ_INT(
        request_decode(&pyexec__v1__create_session_request__descriptor, wire, 2 * 1024, &m, &err),
        0);
    protobuf_c_message_free_unpacked(m, NULL);
    free(wire);
}

static void test_large_code_passes(void)
{
    size_t n = 16u << 20;
    struct err err = {0};
    ProtobufCMessage *m = NULL;
    Pyexec__V1__ExecutionSpec spec = PYEXEC__V1__EXECUTION_SPEC__INIT;
    Pyexec__V1__ExecuteRequest request = PYEXEC__V1__EXECUTE_REQUEST__INIT;
    char *code = malloc(n + 1);
    memset(code, 'x', n);
    code[n] = '\0';
    spec.code = code;
    request.spec = &spec;
    size_t size = pyexec__v1__execute_request__get_packed_size(&request);
    uint8_t *wire = malloc(size);
    (void)pyexec__v1__execute_request__pack(&request, wire);
    CHECK_EQ_INT(request_decode(EXECUTE, wire, size, &m, &err), 0);
    protobuf_c_message_free_unpacked(m, NULL);
    free(code);
    free(wire);
}

/* Random bytes, and a good message with bytes changed or cut off: refused or taken, never worse. */
static void test_nonsense(void)
{
    static const uint8_t good[] = {0x0a, 1, 's', 0x1a, 15, 0x0a, 1,    'c', 0x32, 6,
                                   0x0a, 1, 'K', 0x12, 1,  'v',  0x2a, 0,   0x48, 1};
    uint8_t wire[sizeof good];
    uint32_t x = 12345;
    for (int i = 0; i < 200000; i++) {
        struct err err = {0};
        ProtobufCMessage *m = NULL;
        x = x * 1664525u + 1013904223u;
        memcpy(wire, good, sizeof good);
        wire[(x >> 8) % sizeof good] = (uint8_t)(x >> 24);
        if (i % 2) {
            wire[(x >> 13) % sizeof good] ^= (uint8_t)(x >> 16);
        }
        if (request_decode(EXECUTE, wire, i % 3 ? sizeof wire : x % sizeof wire, &m, &err) == 0) {
            protobuf_c_message_free_unpacked(m, NULL);
        } else {
            CHECK_EQ_INT(err.code, ERR_INVALID_FIELD);
        }
    }
}

static void test_header(void)
{
    Pyexec__V1__GetSessionRequest request = PYEXEC__V1__GET_SESSION_REQUEST__INIT;
    Pyexec__V1__ListSessionsRequest list = PYEXEC__V1__LIST_SESSIONS_REQUEST__INIT;
    grpc_metadata entries[2] = {
        {.key = grpc_slice_from_static_string("user-agent"),
         .value = grpc_slice_from_static_string("x")},
        {.key = grpc_slice_from_static_string("x-pyexec-session"),
         .value = grpc_slice_from_static_string("node-1")},
    };
    grpc_metadata_array metadata = {.count = 2, .metadata = entries};
    struct err err = {0};
    request.session_id = (char *)"node-1";
    CHECK_EQ_INT(request_check_header(&request.base, &metadata, &err), 0);
    request.session_id = (char *)"node-2";
    CHECK_EQ_INT(request_check_header(&request.base, &metadata, &err), -1);
    CHECK_STR(err.detail, "session_id");
    request.session_id = (char *)"node-11";
    CHECK_EQ_INT(request_check_header(&request.base, &metadata, &err), -1);
    metadata.count = 1;
    CHECK_EQ_INT(request_check_header(&request.base, &metadata, &err), 0);
    metadata.count = 2;
    CHECK_EQ_INT(request_check_header(&list.base, &metadata, &err), 0);
}

int main(void)
{
    RUN(test_strings);
    RUN(test_bytes_fields_take_anything);
    RUN(test_nothing_is_a_message);
    RUN(test_budget);
    RUN(test_large_code_passes);
    RUN(test_nonsense);
    RUN(test_header);
    return check_done();
}
