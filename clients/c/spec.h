/* spec.h: struct pyexec_spec → the request's ExecutionSpec message, without copying texts. */
#ifndef PYEXEC_CLIENTS_C_SPEC_H
#define PYEXEC_CLIENTS_C_SPEC_H

#include "clients/c/pyexec.h"
#include "proto/pyexec_v1.h"

/* The generated map entry types of all messages have one layout; this is it. */
struct map_entry {
    ProtobufCMessage base;
    char *key;
    char *value;
};

struct pair_map {
    struct map_entry *entries;
    void **pointers; /* the `repeated` array of the generated struct */
    size_t len;
};

/* `descriptor`: of the generated entry type. 0, or -1 and the error. */
int pair_map_init(struct pair_map *map, const ProtobufCMessageDescriptor *descriptor,
                  const struct pyexec_pair *pairs, size_t n, struct pyexec_error *err);
void pair_map_release(struct pair_map *map);

struct spec_message {
    Pyexec__V1__ExecutionSpec spec;
    char execution_id[PYEXEC_ID_SIZE]; /* the given one is borrowed; this holds a made one */
    struct pair_map env;
    struct pair_map labels;
    Google__Protobuf__Duration timeout, grace, heartbeat;
};

/* Borrows `spec`, which must outlive it. 0, or -1 and the error. */
int spec_message_init(struct spec_message *m, const struct pyexec_spec *spec,
                      struct pyexec_error *err);
void spec_message_release(struct spec_message *m);

#endif
