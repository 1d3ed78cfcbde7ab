#include "clients/c/status_details.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "service/base/utf8.h"

#define ERROR_INFO "type.googleapis.com/google.rpc.ErrorInfo"
#define RETRY_INFO "type.googleapis.com/google.rpc.RetryInfo"
#define DETAILS_MAX 8192 /* as large as a peer's metadata may be */
#define RETRY_MAX_S 86400

static void copy(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);
    if (n >= size) {
        n = utf8_boundary(text, size - 1);
    }
    memcpy(out, text, n);
    out[n] = '\0';
}

static void take_error_info(const ProtobufCBinaryData *value, struct pyexec_error *err)
{
    Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(NULL, value->len, value->data);
    if (info == NULL) {
        return;
    }
    copy(err->reason, sizeof err->reason, info->reason);
    for (size_t i = 0; i < info->n_metadata && err->n_details < PYEXEC_ERROR_DETAILS; i++) {
        unsigned n = err->n_details++;
        copy(err->details[n].key, sizeof err->details[n].key, info->metadata[i]->key);
        copy(err->details[n].value, sizeof err->details[n].value, info->metadata[i]->value);
    }
    google__rpc__error_info__free_unpacked(info, NULL);
}

static void take_retry_info(const ProtobufCBinaryData *value, struct pyexec_error *err)
{
    Google__Rpc__RetryInfo *info = google__rpc__retry_info__unpack(NULL, value->len, value->data);
    if (info == NULL) {
        return;
    }
    const Google__Protobuf__Duration *d = info->retry_delay;
    if (d != NULL && d->seconds >= 0 && d->seconds <= RETRY_MAX_S && d->nanos >= 0 &&
        d->nanos < 1000000000) {
        err->retry_ms = d->seconds * 1000 + d->nanos / 1000000;
    }
    google__rpc__retry_info__free_unpacked(info, NULL);
}

void status_details_parse(const void *data, size_t len, struct pyexec_error *err)
{
    Google__Rpc__Status *status =
        len <= DETAILS_MAX ? google__rpc__status__unpack(NULL, len, data) : NULL;
    if (status == NULL) {
        return;
    }
    if (status->message[0] != '\0') {
        copy(err->message, sizeof err->message, status->message);
    }
    for (size_t i = 0; i < status->n_details; i++) {
        const Google__Protobuf__Any *any = status->details[i];
        if (strcmp(any->type_url, ERROR_INFO) == 0) {
            take_error_info(&any->value, err);
        } else if (strcmp(any->type_url, RETRY_INFO) == 0) {
            take_retry_info(&any->value, err);
        }
    }
    google__rpc__status__free_unpacked(status, NULL);
}

const char *pyexec_error_detail(const struct pyexec_error *err, const char *key)
{
    for (unsigned i = 0; i < err->n_details; i++) {
        if (strcmp(err->details[i].key, key) == 0) {
            return err->details[i].value;
        }
    }
    return NULL;
}
