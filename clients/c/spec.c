#include "clients/c/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clients/c/transport.h"
#include "clients/c/view.h"

_Static_assert(sizeof(struct map_entry) == sizeof(Pyexec__V1__ExecutionSpec__EnvEntry) &&
                   offsetof(struct map_entry, key) ==
                       offsetof(Pyexec__V1__ExecutionSpec__EnvEntry, key) &&
                   offsetof(struct map_entry, value) ==
                       offsetof(Pyexec__V1__ExecutionSpec__EnvEntry, value),
               "map entries are generated alike");

int pair_map_init(struct pair_map *map, const ProtobufCMessageDescriptor *descriptor,
                  const struct pyexec_pair *pairs, size_t n, struct pyexec_error *err)
{
    *map = (struct pair_map){0};
    if (n == 0) {
        return 0;
    }
    if (n > PYEXEC_MAX_PAIRS) {
        return transport_fail(err, PYEXEC_CODE_INVALID_ARGUMENT, "more than %d entries in a map",
                              PYEXEC_MAX_PAIRS);
    }
    map->entries = calloc(n, sizeof *map->entries);
    map->pointers = calloc(n, sizeof *map->pointers);
    if (map->entries == NULL || map->pointers == NULL) {
        pair_map_release(map);
        return transport_fail(err, PYEXEC_CODE_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        protobuf_c_message_init(descriptor, &map->entries[i]);
        map->entries[i].key = (char *)pairs[i].key;
        map->entries[i].value = (char *)pairs[i].value;
        map->pointers[i] = &map->entries[i];
    }
    map->len = n;
    return 0;
}

void pair_map_release(struct pair_map *map)
{
    free(map->entries);
    free(map->pointers);
    *map = (struct pair_map){0};
}

/* The id is what keeps a repeated call from running the code twice. */
int pyexec_new_id(char ret_id[PYEXEC_ID_SIZE], struct pyexec_error *err)
{
    uint64_t bits[2];
    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
        return transport_fail(err, PYEXEC_CODE_INTERNAL, "getrandom: %s", strerror(errno));
    }
    (void)snprintf(ret_id, PYEXEC_ID_SIZE, "c-%016llx%016llx", (unsigned long long)bits[0],
                   (unsigned long long)bits[1]);
    return 0;
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

int spec_message_init(struct spec_message *m, const struct pyexec_spec *spec,
                      struct pyexec_error *err)
{
    static const Pyexec__V1__ExecutionSpec__StdinMode stdin_modes[] = {
        PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_CLOSED,
        PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_INLINE,
        PYEXEC__V1__EXECUTION_SPEC__STDIN_MODE__STDIN_MODE_STREAM,
    };
    *m = (struct spec_message){0};
    Pyexec__V1__ExecutionSpec *s = &m->spec;
    pyexec__v1__execution_spec__init(s);
    s->code = (char *)or_empty(spec->code);
    s->filename = (char *)or_empty(spec->filename);
    s->timeout = view_duration(&m->timeout, spec->timeout_ms);
    s->reattach_grace = view_duration(&m->grace, spec->reattach_grace_ms);
    s->heartbeat_interval = view_duration(&m->heartbeat, spec->heartbeat_ms);
    s->busy_policy = spec->queue ? PYEXEC__V1__EXECUTION_SPEC__BUSY_POLICY__BUSY_POLICY_QUEUE
                                 : PYEXEC__V1__EXECUTION_SPEC__BUSY_POLICY__BUSY_POLICY_FAIL;
    s->stdin_mode = stdin_modes[spec->stdin_mode];
    s->stdin.data = (uint8_t *)spec->stdin_data;
    s->stdin.len = spec->stdin_len;
    s->max_output_bytes = spec->max_output_bytes;
    s->silent = spec->silent;
    s->report_changed_files = spec->report_changed_files;
    s->write_source_file = spec->write_source_file;
    s->overflow_policy =
        spec->block_on_overflow
            ? PYEXEC__V1__EXECUTION_SPEC__OVERFLOW_POLICY__OVERFLOW_POLICY_BLOCK
            : PYEXEC__V1__EXECUTION_SPEC__OVERFLOW_POLICY__OVERFLOW_POLICY_TRUNCATE;
    s->traceback_style = spec->ipython_traceback
                             ? PYEXEC__V1__EXECUTION_SPEC__TRACEBACK_STYLE__TRACEBACK_STYLE_IPYTHON
                             : PYEXEC__V1__EXECUTION_SPEC__TRACEBACK_STYLE__TRACEBACK_STYLE_PYTHON;
    if (pyexec_new_id(m->execution_id, err) < 0 ||
        pair_map_init(&m->env, &pyexec__v1__execution_spec__env_entry__descriptor, spec->env,
                      spec->n_env, err) < 0 ||
        pair_map_init(&m->labels, &pyexec__v1__execution_spec__labels_entry__descriptor,
                      spec->labels, spec->n_labels, err) < 0) {
        spec_message_release(m);
        return -1;
    }
    s->env = (Pyexec__V1__ExecutionSpec__EnvEntry **)m->env.pointers;
    s->n_env = m->env.len;
    s->labels = (Pyexec__V1__ExecutionSpec__LabelsEntry **)m->labels.pointers;
    s->n_labels = m->labels.len;
    return 0;
}

void spec_message_release(struct spec_message *m)
{
    pair_map_release(&m->env);
    pair_map_release(&m->labels);
}
