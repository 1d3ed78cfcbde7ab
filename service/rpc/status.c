#include "service/rpc/status.h"

#include <stdio.h>
#include <string.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "service/base/utf8.h"

#define TYPE_URL "type.googleapis.com/"
#define DOMAIN "pyexec"
#define DETAILS_MAX 3  /* ErrorInfo, RetryInfo, BadRequest */
#define METADATA_MAX 3 /* the err's own detail, stage, errno */

void status_message(const struct err *err, char *ret_text, size_t size)
{
    if (err->code == ERR_INTERNAL) {
        (void)snprintf(ret_text, size, "internal error; the log of the server has the details");
        return;
    }
    (void)snprintf(ret_text, size, "%s", err->text);
    size_t n = strlen(ret_text);
    /* Texts quote names from elsewhere (file names are bytes); a client would refuse the message. */
    for (size_t i = 0; i < n && !utf8_valid(ret_text, n); i++) {
        if ((unsigned char)ret_text[i] >= 0x80) {
            ret_text[i] = '?';
        }
    }
}

/* The Any's value is packed into `out`, which must not grow any more until the Any was used. */
static int pack_any(const ProtobufCMessage *message, const char *url, struct buf *out,
                    Google__Protobuf__Any *any)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *p = buf_reserve(out, n);
    if (p == NULL) {
        return -1;
    }
    protobuf_c_message_pack(message, p);
    out->len += n;
    google__protobuf__any__init(any);
    any->type_url = (char *)url;
    any->value.data = p;
    any->value.len = n;
    return 0;
}

static int pack_error_info(const struct err *err, struct buf *out, Google__Protobuf__Any *any)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry entries[METADATA_MAX];
    Google__Rpc__ErrorInfo__MetadataEntry *pointers[METADATA_MAX];
    char number[16];
    const char *pairs[METADATA_MAX][2] = {
        {err->detail_key, err->detail},
        {err->stage ? "stage" : NULL, err->stage},
        {err->sys_errno ? "errno" : NULL, number},
    };
    (void)snprintf(number, sizeof number, "%d", err->sys_errno);
    info.reason = (char *)err_reason(err->code);
    info.domain = (char *)DOMAIN;
    info.metadata = pointers;
    for (unsigned i = 0; i < METADATA_MAX; i++) {
        if (pairs[i][0] != NULL && utf8_valid(pairs[i][1], strlen(pairs[i][1]))) {
            Google__Rpc__ErrorInfo__MetadataEntry *e = &entries[info.n_metadata];
            google__rpc__error_info__metadata_entry__init(e);
            e->key = (char *)pairs[i][0];
            e->value = (char *)pairs[i][1];
            pointers[info.n_metadata++] = e;
        }
    }
    return pack_any(&info.base, TYPE_URL "google.rpc.ErrorInfo", out, any);
}

static int pack_retry_info(uint32_t ms, struct buf *out, Google__Protobuf__Any *any)
{
    Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    delay.seconds = ms / 1000;
    delay.nanos = (int32_t)(ms % 1000) * 1000000;
    info.retry_delay = &delay;
    return pack_any(&info.base, TYPE_URL "google.rpc.RetryInfo", out, any);
}

static int pack_bad_request(const struct err *err, char *text, struct buf *out,
                            Google__Protobuf__Any *any)
{
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    violation.field =
        utf8_valid(err->detail, strlen(err->detail)) ? (char *)err->detail : (char *)"";
    violation.description = text;
    bad.n_field_violations = 1;
    bad.field_violations = violations;
    return pack_any(&bad.base, TYPE_URL "google.rpc.BadRequest", out, any);
}

static bool is_field(const struct err *err)
{
    return err->code == ERR_INVALID_FIELD && err->detail_key != NULL &&
           strcmp(err->detail_key, "field") == 0;
}

int status_details(const struct err *err, struct buf *out)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any details[DETAILS_MAX];
    Google__Protobuf__Any *pointers[DETAILS_MAX] = {&details[0], &details[1], &details[2]};
    struct buf values;
    char text[ERR_TEXT_MAX];
    unsigned n = 0;
    int r = -1;
    buf_init(&values, STATUS_DETAILS_MAX);
    status_message(err, text, sizeof text);
    /* All at once, so that the values that the Anys point at never move. */
    if (buf_reserve(&values, STATUS_DETAILS_MAX) == NULL ||
        pack_error_info(err, &values, &details[n++]) < 0 ||
        (err_retry_ms(err->code) > 0 &&
         pack_retry_info(err_retry_ms(err->code), &values, &details[n++]) < 0) ||
        (is_field(err) && pack_bad_request(err, text, &values, &details[n++]) < 0)) {
        goto out;
    }
    status.code = err_grpc_status(err->code);
    status.message = text;
    status.n_details = n;
    status.details = pointers;
    size_t size = google__rpc__status__get_packed_size(&status);
    uint8_t *p = buf_reserve(out, size);
    if (p != NULL) {
        google__rpc__status__pack(&status, p);
        out->len += size;
        r = 0;
    }
out:
    buf_release(&values);
    return r;
}
