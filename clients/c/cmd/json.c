#include "clients/c/cmd/json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "proto/pyexec_v1.h"
#include "service/base/utf8.h"

/* The contract has no recursive messages; this is for one that has. */
#define DEPTH_MAX 32

/* Length of the UTF-8 character at `p`, 0 when there is none. */
static size_t character(const char *p, size_t n)
{
    for (size_t len = 1; len <= 4 && len <= n; len++) {
        if (utf8_valid(p, len)) {
            return len;
        }
    }
    return 0;
}

static int escaped(struct buf *out, const char *p, size_t len)
{
    unsigned char c = (unsigned char)*p;
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    if (len == 0) {
        return buf_append_str(out, "\\ufffd");
    }
    for (const char *s = short_forms; *s != '\0'; s += 2) {
        if (c == (unsigned char)s[0]) {
            return buf_printf(out, "\\%c", s[1]);
        }
    }
    return c < 0x20 || c == 0x7f ? buf_printf(out, "\\u%04x", c) : buf_append(out, p, len);
}

int json_string(struct buf *out, const char *text, size_t n)
{
    if (buf_append(out, "\"", 1) < 0) {
        return -1;
    }
    for (size_t i = 0; i < n;) {
        /* Most text needs no escapes: take it in one piece. */
        size_t plain = 0;
        while (i + plain < n && text[i + plain] >= 0x20 && text[i + plain] < 0x7f &&
               text[i + plain] != '"' && text[i + plain] != '\\') {
            plain++;
        }
        if (buf_append(out, text + i, plain) < 0) {
            return -1;
        }
        i += plain;
        if (i < n) {
            size_t len = character(text + i, n - i);
            if (escaped(out, text + i, len) < 0) {
                return -1;
            }
            i += len > 0 ? len : 1;
        }
    }
    return buf_append(out, "\"", 1);
}

int json_base64(struct buf *out, const void *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    if (n > SIZE_MAX / 4) {
        return -1;
    }
    uint8_t *o = buf_reserve(out, 4 * ((n + 2) / 3) + 2);
    if (o == NULL) {
        return -1;
    }
    uint8_t *start = o;
    *o++ = '"';
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (left > 2 ? p[i + 2] : 0);
        *o++ = (uint8_t)digits[v >> 18];
        *o++ = (uint8_t)digits[v >> 12 & 63];
        *o++ = left > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        *o++ = left > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    *o++ = '"';
    out->len += (size_t)(o - start);
    return 0;
}

static int timestamp(struct buf *out, const Google__Protobuf__Timestamp *t)
{
    struct tm tm;
    time_t seconds = (time_t)t->seconds;
    char date[64];
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        return buf_append_str(out, "null");
    }
    return buf_printf(out, "\"%s.%09dZ\"", date, t->nanos);
}

static int duration(struct buf *out, const Google__Protobuf__Duration *d)
{
    bool negative = d->seconds < 0 || d->nanos < 0;
    uint64_t seconds = d->seconds < 0 ? -(uint64_t)d->seconds : (uint64_t)d->seconds;
    unsigned nanos = d->nanos < 0 ? -(unsigned)d->nanos : (unsigned)d->nanos;
    return buf_printf(out, "%s%" PRIu64 ".%09u", negative ? "-" : "", seconds, nanos % 1000000000);
}

static int enum_name(struct buf *out, const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);
    return v != NULL ? buf_printf(out, "\"%s\"", v->name) : buf_printf(out, "%d", value);
}

static int message_at(struct buf *out, const ProtobufCMessage *message, unsigned depth);

/* One value; `p` is where it is stored. */
static int value_at(struct buf *out, const ProtobufCFieldDescriptor *f, const void *p,
                    unsigned depth)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return buf_printf(out, "%" PRId32, *(const int32_t *)p);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return buf_printf(out, "%" PRIu32, *(const uint32_t *)p);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return buf_printf(out, "%" PRId64, *(const int64_t *)p);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return buf_printf(out, "%" PRIu64, *(const uint64_t *)p);
    case PROTOBUF_C_TYPE_FLOAT:
        return buf_printf(out, "%.9g", (double)*(const float *)p);
    case PROTOBUF_C_TYPE_DOUBLE:
        return buf_printf(out, "%.17g", *(const double *)p);
    case PROTOBUF_C_TYPE_BOOL:
        return buf_append_str(out, *(const protobuf_c_boolean *)p ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return enum_name(out, f->descriptor, *(const int *)p);
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)p;
        return json_string(out, text, strlen(text));
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *b = p;
        if (b->len == 0) {
            return buf_append_str(out, "\"\"");
        }
        return utf8_valid(b->data, b->len) ? json_string(out, (const char *)b->data, b->len)
                                           : json_base64(out, b->data, b->len);
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_at(out, *(ProtobufCMessage *const *)p, depth);
    default:
        return buf_append_str(out, "null");
    }
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
    const ProtobufCMessageDescriptor *type = f->descriptor;
    const char *name = f->type == PROTOBUF_C_TYPE_MESSAGE ? type->short_name : "";
    size_t n = strlen(name);
    return f->label == PROTOBUF_C_LABEL_REPEATED && n > 5 && strcmp(name + n - 5, "Entry") == 0 &&
           type->n_fields == 2 && strcmp(type->fields[0].name, "key") == 0;
}

static size_t stored_size(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

static int map_entry(struct buf *out, const ProtobufCMessage *entry, unsigned depth)
{
    const ProtobufCMessageDescriptor *type = entry->descriptor;
    const uint8_t *base = (const uint8_t *)entry;
    if (value_at(out, &type->fields[0], base + type->fields[0].offset, depth) < 0 ||
        buf_append(out, ":", 1) < 0) {
        return -1;
    }
    return value_at(out, &type->fields[1], base + type->fields[1].offset, depth);
}

static int list_at(struct buf *out, const ProtobufCFieldDescriptor *f, const uint8_t *items,
                   size_t n, unsigned depth)
{
    bool map = is_map(f);
    if (buf_append(out, map ? "{" : "[", 1) < 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = items + i * stored_size(f);
        if ((i > 0 && buf_append(out, ",", 1) < 0) ||
            (map ? map_entry(out, *(ProtobufCMessage *const *)(const void *)p, depth)
                 : value_at(out, f, p, depth)) < 0) {
            return -1;
        }
    }
    return buf_append(out, map ? "}" : "]", 1);
}

static bool is_absent(const ProtobufCFieldDescriptor *f, const uint8_t *base)
{
    const void *p = base + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return *(const size_t *)(const void *)(base + f->quantifier_offset) == 0;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        return *(const uint32_t *)(const void *)(base + f->quantifier_offset) != f->id;
    }
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return (*(char *const *)p)[0] == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)p)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)p == NULL;
    default:
        return false;
    }
}

static int field_at(struct buf *out, const ProtobufCFieldDescriptor *f, const uint8_t *base,
                    unsigned depth)
{
    const ProtobufCBinaryData *bytes = (const void *)(base + f->offset);
    bool base64 = f->type == PROTOBUF_C_TYPE_BYTES && f->label != PROTOBUF_C_LABEL_REPEATED &&
                  !utf8_valid(bytes->data, bytes->len);
    if (buf_printf(out, "\"%s%s\":", f->name, base64 ? "_base64" : "") < 0) {
        return -1;
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        return value_at(out, f, base + f->offset, depth);
    }
    return list_at(out, f, *(const uint8_t *const *)(const void *)(base + f->offset),
                   *(const size_t *)(const void *)(base + f->quantifier_offset), depth);
}

static int message_at(struct buf *out, const ProtobufCMessage *message, unsigned depth)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const uint8_t *base = (const uint8_t *)message;
    bool first = true;
    if (type == &google__protobuf__timestamp__descriptor) {
        return timestamp(out, (const Google__Protobuf__Timestamp *)message);
    }
    if (type == &google__protobuf__duration__descriptor) {
        return duration(out, (const Google__Protobuf__Duration *)message);
    }
    if (depth >= DEPTH_MAX) {
        return buf_append_str(out, "null");
    }
    if (buf_append(out, "{", 1) < 0) {
        return -1;
    }
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (is_absent(f, base)) {
            continue;
        }
        if ((!first && buf_append(out, ",", 1) < 0) || field_at(out, f, base, depth + 1) < 0) {
            return -1;
        }
        first = false;
    }
    return buf_append(out, "}", 1);
}

int json_message(struct buf *out, const ProtobufCMessage *message)
{
    return message_at(out, message, 0);
}
