/* What clients get of a struct err. */
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "service/base/utf8.h"
#include "service/rpc/status.h"
#include "tests/support/check.h"

static Google__Rpc__Status *packed(const struct err *err)
{
    struct buf b;
    buf_init(&b, STATUS_DETAILS_MAX);
    CHECK_EQ_INT(status_details(err, &b), 0);
    Google__Rpc__Status *s = google__rpc__status__unpack(NULL, b.len, b.data);
    CHECK(s != NULL);
    buf_release(&b);
    return s;
}

static const ProtobufCBinaryData *detail(const Google__Rpc__Status *s, const char *type)
{
    for (size_t i = 0; i < s->n_details; i++) {
        const char *slash = strrchr(s->details[i]->type_url, '/');
        if (slash != NULL && strcmp(slash + 1, type) == 0) {
            return &s->details[i]->value;
        }
    }
    return NULL;
}

static Google__Rpc__ErrorInfo *error_info(const Google__Rpc__Status *s)
{
    const ProtobufCBinaryData *d = detail(s, "google.rpc.ErrorInfo");
    return d ? google__rpc__error_info__unpack(NULL, d->len, d->data) : NULL;
}

static void test_every_code(void)
{
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        struct err err = {0};
        (void)err_sys(&err, (enum err_code)code, 28, "fork", "text %d", code);
        err_detail(&err, "key", "value");
        Google__Rpc__Status *s = packed(&err);
        Google__Rpc__ErrorInfo *info = error_info(s);
        CHECK_EQ_INT(s->code, err_grpc_status((enum err_code)code));
        CHECK(info != NULL);
        CHECK_STR(info->reason, err_reason((enum err_code)code));
        CHECK_STR(info->domain, "pyexec");
        CHECK_EQ_INT(info->n_metadata, 3);
        CHECK_STR(info->metadata[0]->key, "key");
        CHECK_STR(info->metadata[0]->value, "value");
        CHECK_STR(info->metadata[1]->value, "fork");
        CHECK_STR(info->metadata[2]->value, "28");
        CHECK_EQ_INT(detail(s, "google.rpc.RetryInfo") != NULL,
                     err_retry_ms((enum err_code)code) > 0);
        google__rpc__error_info__free_unpacked(info, NULL);
        google__rpc__status__free_unpacked(s, NULL);
    }
}

static void test_retry_delay(void)
{
    struct err err = {0};
    (void)err_set(&err, ERR_FORK_FAILED, "no");
    Google__Rpc__Status *s = packed(&err);
    const ProtobufCBinaryData *d = detail(s, "google.rpc.RetryInfo");
    Google__Rpc__RetryInfo *retry = google__rpc__retry_info__unpack(NULL, d->len, d->data);
    CHECK_EQ_INT(retry->retry_delay->seconds, 0);
    CHECK_EQ_INT(retry->retry_delay->nanos, 500000000);
    google__rpc__retry_info__free_unpacked(retry, NULL);
    google__rpc__status__free_unpacked(s, NULL);
}

static void test_bad_field(void)
{
    struct err err = {0};
    (void)err_field(&err, "spec.code", "too long");
    Google__Rpc__Status *s = packed(&err);
    const ProtobufCBinaryData *d = detail(s, "google.rpc.BadRequest");
    Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(NULL, d->len, d->data);
    CHECK_EQ_INT(bad->n_field_violations, 1);
    CHECK_STR(bad->field_violations[0]->field, "spec.code");
    CHECK_STR(bad->field_violations[0]->description, "too long");
    google__rpc__bad_request__free_unpacked(bad, NULL);
    google__rpc__status__free_unpacked(s, NULL);

    (void)err_set(&err, ERR_INVALID_FIELD, "no field to name");
    s = packed(&err);
    CHECK(detail(s, "google.rpc.BadRequest") == NULL);
    google__rpc__status__free_unpacked(s, NULL);
}

static void test_our_bugs_tell_nothing(void)
{
    struct err err = {0};
    char text[ERR_TEXT_MAX];
    (void)err_set(&err, ERR_INTERNAL, "/home/somebody/src/x.c:12");
    status_message(&err, text, sizeof text);
    CHECK(strchr(text, '/') == NULL);
    Google__Rpc__Status *s = packed(&err);
    CHECK_STR(s->message, text);
    google__rpc__status__free_unpacked(s, NULL);
}

static void test_text_is_utf8(void)
{
    struct err err = {0};
    char text[ERR_TEXT_MAX];
    (void)err_set(&err, ERR_FILE_NOT_FOUND, "no file a\xff\xfe");
    err_detail(&err, "path", "\xff");
    status_message(&err, text, sizeof text);
    CHECK_STR(text, "no file a??");
    Google__Rpc__Status *s = packed(&err);
    Google__Rpc__ErrorInfo *info = error_info(s);
    CHECK_EQ_INT(info->n_metadata, 0);
    google__rpc__error_info__free_unpacked(info, NULL);
    google__rpc__status__free_unpacked(s, NULL);
    (void)err_set(&err, ERR_FILE_NOT_FOUND, "\xC3\xA4 stays");
    status_message(&err, text, sizeof text);
    CHECK_STR(text, "\xC3\xA4 stays");
}

static void test_largest_fits_one_less_does_not(void)
{
    struct err err = {0};
    char text[400];
    struct buf b;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_field(&err, text, "%s", text);
    err.sys_errno = 2147483647;
    err.stage = "a stage";
    buf_init(&b, STATUS_DETAILS_MAX);
    CHECK_EQ_INT(status_details(&err, &b), 0);
    size_t n = b.len;
    CHECK(n < 2048);
    buf_release(&b);
    buf_init(&b, n - 1);
    CHECK_EQ_INT(status_details(&err, &b), -1);
    CHECK_EQ_INT(b.len, 0);
    buf_release(&b);
}

int main(void)
{
    RUN(test_every_code);
    RUN(test_retry_delay);
    RUN(test_bad_field);
    RUN(test_our_bugs_tell_nothing);
    RUN(test_text_is_utf8);
    RUN(test_largest_fits_one_less_does_not);
    return check_done();
}
