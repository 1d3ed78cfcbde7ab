#include "clients/c/status_details.h"

#include <stdlib.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "tests/support/check.h"

#define MAX 16384

static uint8_t packed[MAX];

struct given {
    const char *message;
    const char *reason;
    const char *key, *value;
    int64_t retry_s;
    int32_t retry_nanos; /* -1: no RetryInfo */
};

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static size_t pack(const struct given *g)
{
    static uint8_t info_bytes[MAX];
    static uint8_t retry_bytes[64];
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry *entries[] = {&entry, &entry, &entry, &entry, &entry};
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Protobuf__Any any[2] = {GOOGLE__PROTOBUF__ANY__INIT, GOOGLE__PROTOBUF__ANY__INIT};
    Google__Protobuf__Any *details[] = {&any[0], &any[1]};
    entry.key = text(g->key);
    entry.value = text(g->value);
    info.reason = text(g->reason);
    info.metadata = entries;
    info.n_metadata = 5; /* one more than is kept */
    delay.seconds = g->retry_s;
    delay.nanos = g->retry_nanos;
    retry.retry_delay = &delay;
    any[0].type_url = text("type.googleapis.com/google.rpc.ErrorInfo");
    any[0].value.data = info_bytes;
    any[0].value.len = google__rpc__error_info__pack(&info, info_bytes);
    any[1].type_url = text("type.googleapis.com/google.rpc.RetryInfo");
    any[1].value.data = retry_bytes;
    any[1].value.len = google__rpc__retry_info__pack(&retry, retry_bytes);
    status.message = text(g->message);
    status.details = details;
    status.n_details = g->retry_nanos < 0 ? 1 : 2;
    return google__rpc__status__pack(&status, packed);
}

static struct pyexec_error parse(size_t n)
{
    struct pyexec_error err = {.code = 10, .retry_ms = -1, .message = "first"};
    status_details_parse(packed, n, &err);
    return err;
}

static void test_reason_and_details(void)
{
    const struct given g = {"busy now", "SESSION_BUSY", "currentExecutionId", "e-1", 0, 250000000};
    struct pyexec_error err = parse(pack(&g));
    CHECK_STR(err.reason, "SESSION_BUSY");
    CHECK_STR(err.message, "busy now");
    CHECK_EQ_INT(err.retry_ms, 250);
    CHECK_EQ_INT(err.n_details, PYEXEC_ERROR_DETAILS);
    CHECK_STR(pyexec_error_detail(&err, "currentExecutionId"), "e-1");
    CHECK(pyexec_error_detail(&err, "other") == NULL);
}

static void test_without_retry(void)
{
    const struct given g = {"", "INTERNAL", "k", "v", 0, -1};
    struct pyexec_error err = parse(pack(&g));
    CHECK_EQ_INT(err.retry_ms, -1);
    CHECK_STR(err.message, "first");
}

static void test_absurd_retries_are_none(void)
{
    const struct given given[] = {{"", "R", "k", "v", -1, 0},
                                  {"", "R", "k", "v", INT64_MAX, 0},
                                  {"", "R", "k", "v", 1, 2000000000}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        struct pyexec_error err = parse(pack(&given[i]));
        CHECK_EQ_INT(err.retry_ms, -1);
    }
}

static void test_long_texts_are_cut_between_characters(void)
{
    static char longest[1024];
    for (size_t i = 0; i + 2 < sizeof longest; i += 2) {
        memcpy(longest + i, "\xc3\xa9", 2);
    }
    const struct given g = {longest, longest, "k", longest, 1, 0};
    struct pyexec_error err = parse(pack(&g));
    CHECK_EQ_INT(strlen(err.message), sizeof err.message - 2);
    CHECK_EQ_INT(strlen(err.reason), sizeof err.reason - 2);
    CHECK_EQ_INT(strlen(err.details[0].value), sizeof err.details[0].value - 2);
    CHECK_EQ_INT(err.retry_ms, 1000);
}

static void test_too_large(void)
{
    static char large[9000];
    memset(large, 'x', sizeof large - 1);
    const struct given g = {large, "R", "k", "v", 1, 0};
    struct pyexec_error err = parse(pack(&g));
    CHECK_STR(err.reason, "");
    CHECK_STR(err.message, "first");
}

/* Every cut and every flipped byte: whatever comes, nothing is read or written out of bounds. */
static void test_broken_bytes(void)
{
    const struct given g = {"m", "SESSION_BUSY", "key", "value", 1, 5};
    size_t n = pack(&g);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = malloc(cut + 1);
        struct pyexec_error err = {.retry_ms = -1};
        if (copy == NULL) {
            CHECK(copy != NULL);
            return;
        }
        memcpy(copy, packed, cut);
        status_details_parse(copy, cut, &err);
        free(copy);
    }
    for (size_t i = 0; i < n * 8; i++) {
        struct pyexec_error err = {.retry_ms = -1};
        packed[i / 8] ^= (uint8_t)(1u << (i % 8));
        status_details_parse(packed, n, &err);
        packed[i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK(err.n_details <= PYEXEC_ERROR_DETAILS);
        CHECK(memchr(err.reason, 0, sizeof err.reason) != NULL);
    }
}

int main(void)
{
    RUN(test_reason_and_details);
    RUN(test_without_retry);
    RUN(test_absurd_retries_are_none);
    RUN(test_long_texts_are_cut_between_characters);
    RUN(test_too_large);
    RUN(test_broken_bytes);
    return check_done();
}
