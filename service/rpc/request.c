#include "service/rpc/request.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/utf8.h"

#define SESSION_HEADER "x-pyexec-session"
#define DEPTH_MAX 16 /* the contract has no recursive message; its deepest is 4 */
#define ALLOC_OVERHEAD 16

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 };

/* Where the check is: one link a nested message, for the name of a bad field. */
struct path {
    const struct path *parent;
    const char *name;
};

static int read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return 0;
        }
    }
    return -1;
}

/* Reads one field: its number, and its bytes if it has any (length-delimited). */
static int read_field(const uint8_t **p, const uint8_t *end, uint64_t *ret_number,
                      const uint8_t **ret_data, uint64_t *ret_len)
{
    uint64_t tag;
    uint64_t value;
    uint64_t skip = 0;
    *ret_data = NULL;
    *ret_len = 0;
    if (read_varint(p, end, &tag) < 0) {
        return -1;
    }
    *ret_number = tag >> 3;
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(p, end, &value);
    case WIRE_64BIT:
        skip = 8;
        break;
    case WIRE_32BIT:
        skip = 4;
        break;
    case WIRE_BYTES:
        if (read_varint(p, end, &skip) < 0) {
            return -1;
        }
        *ret_data = *p;
        *ret_len = skip;
        break;
    default:
        return -1;
    }
    if (skip > (uint64_t)(end - *p)) {
        return -1;
    }
    *p += skip;
    return 0;
}

static size_t put_path(const struct path *path, char *out, size_t size)
{
    size_t at = path->parent ? put_path(path->parent, out, size) : 0;
    int n = at < size ? snprintf(out + at, size - at, "%s%s", at ? "." : "", path->name) : 0;
    return at + (n > 0 ? (size_t)n : 0);
}

static int bad_string(const struct path *path, const char *what, struct err *err)
{
    char name[ERR_DETAIL_MAX];
    (void)put_path(path, name, sizeof name);
    return err_field(err, name, "%s: %s", name, what);
}

static int check_message(const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t n,
                         const struct path *parent, unsigned depth, struct err *err)
{
    const uint8_t *end = p + n;
    while (p < end) {
        uint64_t number;
        uint64_t len;
        const uint8_t *data;
        if (read_field(&p, end, &number, &data, &len) < 0) {
            return 0;
        }
        const ProtobufCFieldDescriptor *field =
            data != NULL && number <= UINT32_MAX
                ? protobuf_c_message_descriptor_get_field(type, (unsigned)number)
                : NULL;
        if (field == NULL) {
            continue;
        }
        struct path path = {parent, field->name};
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            if (!utf8_valid(data, len)) {
                return bad_string(&path, "not valid UTF-8", err);
            }
            if (memchr(data, 0, len) != NULL) {
                return bad_string(&path, "contains a NUL character", err);
            }
        } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            if (depth == 0) {
                return bad_string(&path, "nested too deep", err);
            }
            if (check_message(field->descriptor, data, len, &path, depth - 1, err) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

int request_check_strings(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t n,
                          struct err *err)
{
    return check_message(type, data, n, NULL, DEPTH_MAX, err);
}

struct budget {
    size_t left;
    bool exceeded;
};

static void *budget_alloc(void *ctx, size_t size)
{
    struct budget *b = ctx;
    if (size > b->left || b->left - size < ALLOC_OVERHEAD) {
        b->exceeded = true;
        return NULL;
    }
    b->left -= size + ALLOC_OVERHEAD;
    return malloc(size);
}

/* What was freed isn't given back: a bound on the work, too. */
static void budget_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

int request_decode(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t n,
                   ProtobufCMessage **ret_message, struct err *err)
{
    struct budget budget = {.left = REQUEST_BUDGET(n)};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    if (request_check_strings(type, data, n, err) < 0) {
        return -1;
    }
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, n, data);
    if (m == NULL) {
        return err_set(err, ERR_INVALID_FIELD,
                       budget.exceeded ? "the request has too many parts for its size to be a %s"
                                       : "the request is not a valid %s",
                       type->name);
    }
    *ret_message = m;
    return 0;
}

int request_decode_payload(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *payload,
                           ProtobufCMessage **ret_message, struct err *err)
{
    if (payload == NULL) {
        return err_set(err, ERR_INVALID_FIELD, "the call ended without a request message");
    }
    if (payload->type == GRPC_BB_RAW && payload->data.raw.compression == GRPC_COMPRESS_NONE &&
        payload->data.raw.slice_buffer.count == 1) {
        const grpc_slice *only = &payload->data.raw.slice_buffer.slices[0];
        return request_decode(type, GRPC_SLICE_START_PTR(*only), GRPC_SLICE_LENGTH(*only),
                              ret_message, err);
    }
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, payload)) {
        return err_set(err, ERR_INTERNAL, "a request could not be read");
    }
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    int r = request_decode(type, GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole), ret_message,
                           err);
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
    return r;
}

const char *request_session_id(const ProtobufCMessage *request)
{
    const ProtobufCFieldDescriptor *field =
        request->descriptor->n_fields > 0 ? &request->descriptor->fields[0] : NULL;
    if (field == NULL || field->type != PROTOBUF_C_TYPE_STRING ||
        strcmp(field->name, "session_id") != 0) {
        return NULL;
    }
    char *value;
    memcpy(&value, (const char *)request + field->offset, sizeof value);
    return value;
}

int request_check_header(const ProtobufCMessage *request, const grpc_metadata_array *metadata,
                         struct err *err)
{
    const char *id = request_session_id(request);
    for (size_t i = 0; id != NULL && i < metadata->count; i++) {
        if (grpc_slice_str_cmp(metadata->metadata[i].key, SESSION_HEADER) == 0 &&
            grpc_slice_str_cmp(metadata->metadata[i].value, id) != 0) {
            return err_field(err, "session_id",
                             "session_id: differs from the header " SESSION_HEADER
                             ", by which proxies route; send the same in both");
        }
    }
    return 0;
}
