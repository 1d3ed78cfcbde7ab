/* descriptors.h: the descriptors of all that the server serves, for reflection.
 *
 * Cut at build time from protoc's descriptor set; nothing is parsed at run time. All of it is
 * constant, so any thread may read it and nothing is freed.
 *
 * Covers the public contract, health, reflection (both versions), google.rpc and the well-known
 * types that they import; not proto/internal, which no client may know. */
#ifndef PYEXEC_PROTO_DESCRIPTORS_H
#define PYEXEC_PROTO_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most files there can be; the build stops beyond it. */
#define DESCRIPTORS_FILES_MAX 64

/* One .proto file. Imports come before the files that import them. */
struct descriptors_file {
    const char *name;    /* as imported: "pyexec/v1/types.proto" */
    const uint8_t *data; /* a serialized google.protobuf.FileDescriptorProto */
    size_t len;
    const uint16_t *deps; /* its direct imports, as indexes of descriptors_files */
    size_t deps_len;
};

enum descriptors_kind {
    DESCRIPTORS_SERVICE,
    DESCRIPTORS_METHOD,
    DESCRIPTORS_MESSAGE, /* nested ones, too */
    DESCRIPTORS_ENUM,
};

/* One name. Full, with the package and without a leading dot: "pyexec.v1.SessionService.CreateSession". */
struct descriptors_symbol {
    const char *name;
    uint16_t file; /* index of descriptors_files */
    enum descriptors_kind kind;
    /* Methods only, otherwise NULL and false: full names of the request and the response. */
    const char *input;
    const char *output;
    bool client_streaming;
    bool server_streaming;
};

extern const struct descriptors_file descriptors_files[];
extern const size_t descriptors_files_len;

/* Sorted by name in byte order, each once. */
extern const struct descriptors_symbol descriptors_symbols[];
extern const size_t descriptors_symbols_len;

/* The file of that name, or NULL. name need not end in a NUL. */
const struct descriptors_file *descriptors_find_file(const char *name, size_t name_len);

/* The symbol of that full name, or NULL. name need not end in a NUL. */
const struct descriptors_symbol *descriptors_find_symbol(const char *name, size_t name_len);

/* Calls visit for a file and for all that it imports, directly or not, each once, imports first.
 * Stops and returns the first value of visit that is not 0; otherwise 0. */
int descriptors_visit(const struct descriptors_file *file,
                      int (*visit)(const struct descriptors_file *file, void *arg), void *arg);

#endif
