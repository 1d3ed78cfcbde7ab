/* Cuts a FileDescriptorSet into the C tables of proto/descriptors.h.
 *
 *     embed_descriptors SET.bin > descriptors_data.c
 *
 * The set comes from protoc with --include_imports: imports stand before their importers. Files are
 * written byte for byte as they are in the set; they are unpacked only to read their names. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"

#define FILES_MAX 64 /* DESCRIPTORS_FILES_MAX */

struct file {
    const uint8_t *data;
    size_t len;
    Google__Protobuf__FileDescriptorProto *proto;
};

struct symbol {
    char *name;
    size_t file;
    const char *kind;
    const Google__Protobuf__MethodDescriptorProto *method; /* or NULL */
};

static struct file files[FILES_MAX];
static size_t files_len;
static struct symbol *symbols;
static size_t symbols_len;

static void __attribute__((noreturn, format(printf, 1, 2))) stop(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("embed_descriptors: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint8_t *read_all(const char *path, size_t *ret_len)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        stop("can't open %s", path);
    }
    uint8_t *data = NULL;
    size_t len = 0;
    size_t got;
    do {
        data = realloc(data, len + 65536);
        if (data == NULL) {
            stop("out of memory");
        }
        got = fread(data + len, 1, 65536, in);
        len += got;
    } while (got > 0);
    if (ferror(in)) {
        stop("can't read %s", path);
    }
    (void)fclose(in);
    *ret_len = len;
    return data;
}

static uint64_t read_varint(const uint8_t *data, size_t len, size_t *at)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *at < len; shift += 7) {
        uint8_t byte = data[(*at)++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    stop("the set ends within a number");
}

/* FileDescriptorSet has one field: repeated FileDescriptorProto file = 1. */
static void split_set(const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        if (read_varint(data, len, &at) != (1 << 3 | 2)) {
            stop("not a FileDescriptorSet");
        }
        uint64_t size = read_varint(data, len, &at);
        if (size > len - at) {
            stop("the set ends within a file");
        }
        if (files_len == FILES_MAX) {
            stop("more than %d files: raise DESCRIPTORS_FILES_MAX here and in descriptors.h",
                 FILES_MAX);
        }
        struct file *file = &files[files_len++];
        file->data = data + at;
        file->len = size;
        file->proto = google__protobuf__file_descriptor_proto__unpack(NULL, file->len, file->data);
        if (file->proto == NULL) {
            stop("file %zu of the set is not a FileDescriptorProto", files_len - 1);
        }
        at += size;
    }
}

static const char *add_symbol(const char *scope, const char *name, size_t file, const char *kind,
                              const Google__Protobuf__MethodDescriptorProto *method)
{
    size_t size = strlen(scope) + strlen(name) + 2;
    char *full = malloc(size);
    symbols = realloc(symbols, (symbols_len + 1) * sizeof *symbols);
    if (full == NULL || symbols == NULL) {
        stop("out of memory");
    }
    (void)snprintf(full, size, "%s%s%s", scope, scope[0] == '\0' ? "" : ".", name);
    symbols[symbols_len++] = (struct symbol){full, file, kind, method};
    return full;
}

static void add_messages(const char *scope, Google__Protobuf__DescriptorProto **messages, size_t n,
                         size_t file)
{
    for (size_t i = 0; i < n; i++) {
        const Google__Protobuf__DescriptorProto *message = messages[i];
        const char *name = add_symbol(scope, message->name, file, "MESSAGE", NULL);
        for (size_t e = 0; e < message->n_enum_type; e++) {
            (void)add_symbol(name, message->enum_type[e]->name, file, "ENUM", NULL);
        }
        add_messages(name, message->nested_type, message->n_nested_type, file);
    }
}

static void add_file(size_t index)
{
    const Google__Protobuf__FileDescriptorProto *proto = files[index].proto;
    const char *package = proto->package != NULL ? proto->package : "";
    add_messages(package, proto->message_type, proto->n_message_type, index);
    for (size_t i = 0; i < proto->n_enum_type; i++) {
        (void)add_symbol(package, proto->enum_type[i]->name, index, "ENUM", NULL);
    }
    for (size_t i = 0; i < proto->n_service; i++) {
        const Google__Protobuf__ServiceDescriptorProto *service = proto->service[i];
        const char *name = add_symbol(package, service->name, index, "SERVICE", NULL);
        for (size_t m = 0; m < service->n_method; m++) {
            (void)add_symbol(name, service->method[m]->name, index, "METHOD", service->method[m]);
        }
    }
}

static int compare_symbols(const void *a, const void *b)
{
    return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

static size_t find_import(size_t importer, const char *name)
{
    for (size_t i = 0; i < importer; i++) {
        if (strcmp(files[i].proto->name, name) == 0) {
            return i;
        }
    }
    stop("%s imports %s, which does not stand before it", files[importer].proto->name, name);
}

static void print_file(size_t index)
{
    const struct file *file = &files[index];
    printf("/* %s */\nstatic const uint8_t data_%zu[] = {", file->proto->name, index);
    for (size_t i = 0; i < file->len; i++) {
        printf("%s%u,", i % 24 == 0 ? "\n" : "", file->data[i]);
    }
    printf("\n};\n");
    if (file->proto->n_dependency > 0) {
        printf("static const uint16_t deps_%zu[] = {", index);
        for (size_t i = 0; i < file->proto->n_dependency; i++) {
            printf("%zu, ", find_import(index, file->proto->dependency[i]));
        }
        printf("};\n");
    }
}

static void print_files(void)
{
    printf("const struct descriptors_file descriptors_files[] = {\n");
    for (size_t i = 0; i < files_len; i++) {
        const Google__Protobuf__FileDescriptorProto *proto = files[i].proto;
        printf("    {\"%s\", data_%zu, sizeof data_%zu, ", proto->name, i, i);
        if (proto->n_dependency > 0) {
            printf("deps_%zu, %zu},\n", i, proto->n_dependency);
        } else {
            printf("NULL, 0},\n");
        }
    }
    printf("};\nconst size_t descriptors_files_len = %zu;\n", files_len);
}

static void print_symbols(void)
{
    printf("const struct descriptors_symbol descriptors_symbols[] = {\n");
    for (size_t i = 0; i < symbols_len; i++) {
        const struct symbol *s = &symbols[i];
        printf("    {\"%s\", %zu, DESCRIPTORS_%s, ", s->name, s->file, s->kind);
        if (s->method != NULL) {
            /* Type names in descriptors begin with a dot. */
            printf("\"%s\", \"%s\", %d, %d},\n", s->method->input_type + 1,
                   s->method->output_type + 1,
                   s->method->has_client_streaming && s->method->client_streaming,
                   s->method->has_server_streaming && s->method->server_streaming);
        } else {
            printf("NULL, NULL, 0, 0},\n");
        }
    }
    printf("};\nconst size_t descriptors_symbols_len = %zu;\n", symbols_len);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        stop("usage: embed_descriptors SET.bin");
    }
    size_t len;
    uint8_t *data = read_all(argv[1], &len);
    split_set(data, len);
    if (files_len == 0) {
        stop("%s is empty", argv[1]);
    }
    for (size_t i = 0; i < files_len; i++) {
        add_file(i);
    }
    qsort(symbols, symbols_len, sizeof *symbols, compare_symbols);
    for (size_t i = 1; i < symbols_len; i++) {
        if (strcmp(symbols[i - 1].name, symbols[i].name) == 0) {
            stop("%s is declared twice", symbols[i].name);
        }
    }
    printf("/* Made by embed_descriptors. */\n#include \"proto/descriptors.h\"\n\n");
    for (size_t i = 0; i < files_len; i++) {
        print_file(i);
    }
    print_files();
    print_symbols();
    return ferror(stdout) || fclose(stdout) != 0;
}
