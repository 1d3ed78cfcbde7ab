/* The reflection tables against protobuf-c's own descriptors and against the rules of the header. */
#include <stdint.h>

#include "google/protobuf/any.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"
#include "proto/descriptors.h"
#include "proto/pyexec_v1.h"
#include "tests/support/check.h"

static const struct descriptors_symbol *find(const char *name)
{
    return descriptors_find_symbol(name, strlen(name));
}

static void test_symbols_are_sorted_and_found(void)
{
    CHECK(descriptors_symbols_len > 100);
    for (size_t i = 0; i < descriptors_symbols_len; i++) {
        const struct descriptors_symbol *s = &descriptors_symbols[i];
        CHECK(i == 0 || strcmp(descriptors_symbols[i - 1].name, s->name) < 0);
        CHECK(find(s->name) == s);
        CHECK(s->file < descriptors_files_len);
        CHECK((s->kind == DESCRIPTORS_METHOD) == (s->input != NULL && s->output != NULL));
    }
}

static void test_unknown_names_are_not_found(void)
{
    CHECK(find("") == NULL);
    CHECK(find("pyexec") == NULL);
    CHECK(find("pyexec.v1.Sessio") == NULL);
    CHECK(find("pyexec.v1.SessionX") == NULL);
    CHECK(find("zzz") == NULL);
    CHECK(find("pyexec.internal.SessionRun") == NULL);
    CHECK(descriptors_find_symbol("pyexec.v1.Session\0", 18) == NULL);
    CHECK(descriptors_find_symbol("pyexec.v1.SessionService", 17) == find("pyexec.v1.Session"));
    CHECK(descriptors_find_file("pyexec/v1/none.proto", 20) == NULL);
    CHECK(descriptors_find_file("", 0) == NULL);
}

static void test_kinds(void)
{
    CHECK(find("pyexec.v1.Session")->kind == DESCRIPTORS_MESSAGE);
    CHECK(find("pyexec.v1.Session.LabelsEntry")->kind == DESCRIPTORS_MESSAGE);
    CHECK(find("pyexec.v1.SessionState")->kind == DESCRIPTORS_ENUM);
    CHECK(find("pyexec.v1.ExecutionResult.Status")->kind == DESCRIPTORS_ENUM);
    CHECK(find("pyexec.v1.ExecutionService")->kind == DESCRIPTORS_SERVICE);
    const struct descriptors_symbol *execute = find("pyexec.v1.ExecutionService.Execute");
    CHECK(execute->kind == DESCRIPTORS_METHOD);
    CHECK_STR(execute->input, "pyexec.v1.ExecuteRequest");
    CHECK_STR(execute->output, "pyexec.v1.ExecuteResponse");
    CHECK(execute->server_streaming && !execute->client_streaming);
    const struct descriptors_symbol *info =
        find("grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo");
    CHECK(info->server_streaming && info->client_streaming);
    CHECK_STR(descriptors_files[info->file].name, "grpc/reflection/v1alpha/reflection.proto");
}

/* Every method of the generated services is a symbol, with the same types. */
static void test_services_are_those_of_the_generated_code(void)
{
    const ProtobufCServiceDescriptor *services[] = {
        &pyexec__v1__execution_service__descriptor,
        &pyexec__v1__file_service__descriptor,
        &pyexec__v1__server_service__descriptor,
        &pyexec__v1__session_service__descriptor,
        &grpc__health__v1__health__descriptor,
        &grpc__reflection__v1__server_reflection__descriptor,
        &grpc__reflection__v1alpha__server_reflection__descriptor,
    };
    size_t methods = 0;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        CHECK(find(services[i]->name) != NULL);
        for (unsigned m = 0; m < services[i]->n_methods; m++) {
            char name[256];
            (void)snprintf(name, sizeof name, "%s.%s", services[i]->name,
                           services[i]->methods[m].name);
            const struct descriptors_symbol *s = find(name);
            CHECK(s != NULL);
            if (s != NULL) {
                CHECK_STR(s->input, services[i]->methods[m].input->name);
                CHECK_STR(s->output, services[i]->methods[m].output->name);
            }
            methods++;
        }
    }
    size_t listed_services = 0;
    size_t listed_methods = 0;
    for (size_t i = 0; i < descriptors_symbols_len; i++) {
        listed_services += descriptors_symbols[i].kind == DESCRIPTORS_SERVICE;
        listed_methods += descriptors_symbols[i].kind == DESCRIPTORS_METHOD;
    }
    CHECK_EQ_INT(listed_services, sizeof services / sizeof services[0]);
    CHECK_EQ_INT(listed_methods, methods);
}

/* FileDescriptorProto.name is field 1, and protoc writes it first. */
static void test_files_hold_their_own_descriptor(void)
{
    CHECK(descriptors_files_len >= 8 && descriptors_files_len <= DESCRIPTORS_FILES_MAX);
    for (size_t i = 0; i < descriptors_files_len; i++) {
        const struct descriptors_file *f = &descriptors_files[i];
        size_t name_len = strlen(f->name);
        CHECK(descriptors_find_file(f->name, name_len) == f);
        CHECK(f->len > name_len + 2 && f->data[0] == 0x0a && f->data[1] == name_len);
        CHECK(memcmp(f->data + 2, f->name, name_len) == 0);
        for (size_t d = 0; d < f->deps_len; d++) {
            CHECK(f->deps[d] < i);
        }
    }
}

struct visited {
    size_t n;
    const char *names[DESCRIPTORS_FILES_MAX];
    size_t stop_at;
};

static int note(const struct descriptors_file *file, void *arg)
{
    struct visited *v = arg;
    v->names[v->n++] = file->name;
    return v->n == v->stop_at ? 7 : 0;
}

static void test_visit_gives_imports_first_and_once(void)
{
    const char *name = "pyexec/v1/execution_service.proto";
    const struct descriptors_file *file = descriptors_find_file(name, strlen(name));
    struct visited v = {0};
    CHECK_EQ_INT(descriptors_visit(file, note, &v), 0);
    CHECK(v.n > 2);
    CHECK_STR(v.names[v.n - 1], name);
    bool timestamp = false;
    for (size_t i = 0; i < v.n; i++) {
        timestamp |= strcmp(v.names[i], "google/protobuf/timestamp.proto") == 0;
        CHECK(strncmp(v.names[i], "grpc/", 5) != 0);
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(v.names[i], v.names[j]) != 0);
        }
    }
    CHECK(timestamp);
    struct visited stopped = {.stop_at = 2};
    CHECK_EQ_INT(descriptors_visit(file, note, &stopped), 7);
    CHECK_EQ_INT(stopped.n, 2);
}

int main(void)
{
    RUN(test_symbols_are_sorted_and_found);
    RUN(test_unknown_names_are_not_found);
    RUN(test_kinds);
    RUN(test_services_are_those_of_the_generated_code);
    RUN(test_files_hold_their_own_descriptor);
    RUN(test_visit_gives_imports_first_and_once);
    return check_done();
}
