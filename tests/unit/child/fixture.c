#include "tests/unit/child/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char directory[] = "/tmp/pyexec-child-XXXXXX";
struct driver session;
struct driver_result result;

/* CPython keeps what it has for the life of the process: not a leak of ours. */
const char *__lsan_default_suppressions(void); /* NOLINT(cert-dcl51-cpp): LSan's name */
const char *__lsan_default_suppressions(void)  /* NOLINT(cert-dcl51-cpp) */
{
    return "leak:libpython3\n";
}

int fixture_begin(void)
{
    return mkdtemp(directory) == NULL ? -1 : driver_prepare();
}

int fixture_end(int status)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command) != 0 ? 1 : status;
}

bool session_opened(void)
{
    return driver_start(&session, directory) == 0;
}

void close_session(void)
{
    driver_result_release(&result);
    memset(&result, 0, sizeof result);
    driver_release(&session);
}

int run_spec(const struct driver_spec *spec)
{
    driver_result_release(&result);
    driver_run(&session, spec, &result);
    return result.done == NULL ? -1 : (int)result.done->outcome;
}

int run(const char *code)
{
    return run_spec(&(struct driver_spec){.code = code});
}

const char *text(const struct buf *b)
{
    return b->data == NULL ? "" : (const char *)b->data;
}

bool contains(const char *s, const char *part)
{
    return s != NULL && strstr(s, part) != NULL;
}

const char *value_text(void)
{
    static char copy[256];
    copy[0] = '\0';
    const Pyexec__V1__MimeBundle *b = result.done == NULL ? NULL : result.done->value;
    if (b != NULL && b->n_parts > 0) {
        const ProtobufCBinaryData *data = &b->parts[b->n_parts - 1]->data;
        (void)snprintf(copy, sizeof copy, "%.*s", (int)data->len, (const char *)data->data);
    }
    return copy;
}

bool warned(const char *part)
{
    for (size_t i = 0; result.done != NULL && i < result.done->n_warnings; i++) {
        if (contains(result.done->warnings[i], part)) {
            return true;
        }
    }
    return false;
}
