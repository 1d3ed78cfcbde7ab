/* driver.h: a zygote and a daemon in one small program: forks a session, speaks its frames, puts its
 * output in order as service/README.md says. For tests of service/child and service/pyembed. */
#ifndef PYEXEC_TESTS_UNIT_CHILD_DRIVER_H
#define PYEXEC_TESTS_UNIT_CHILD_DRIVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "internal/session.pb-c.h"
#include "service/base/buf.h"
#include "service/wire/session_frames.h"
#include "service/wire/wire.h"

struct driver {
    pid_t pid;
    int control;
    int pipe[2]; /* read ends; -1 after their end of file */
    struct session_page *page;
    struct wire_reader reader;
    struct buf held[2]; /* read, and not yet put in order */
    uint64_t given[2];
    uint64_t run;
    unsigned most_bytes; /* of one read, chosen by chance up to this; 0: as much as there is */
    bool read_on;        /* a mark made us read: marks that came since have to be seen */
};

/* What to run, and what to do meanwhile. Everything but `code` may be zero. */
struct driver_spec {
    const char *code;
    size_t code_len; /* 0: strlen */
    const char *filename;
    bool silent;
    bool ipython;
    bool write_source;
    bool changed_files;
    bool fresh_pipes;
    const char *env_name;
    const char *env_value;
    const char *input;        /* all of standard input, or NULL: none */
    const char *answer;       /* written at each INPUT_REQUEST instead */
    bool wait_for_input;      /* standard input stays open and empty */
    bool interrupt_at_start;  /* SIGINT as soon as STARTED is here */
    const char *interrupt_on; /* SIGINT when this was printed, or an input request came */
};

struct driver_result {
    Pyexec__Internal__SessionDone *done; /* NULL when the session is gone */
    int wait_status;                     /* then */
    struct buf both;                     /* stdout and stderr in order */
    struct buf out;
    struct buf err;
    struct buf background;
    struct buf shown; /* displays: "mime=data;" each, "clear;" */
    struct buf asked; /* prompts, each with a newline */
    unsigned marks;
    bool reporting;
    bool password;
};

/* Starts the interpreter of this process. 0, or -1 with a message on stderr. */
int driver_prepare(void);

/* A session that said READY and got its INIT. `directory` is its working directory. */
int driver_start(struct driver *d, const char *directory);
void driver_run(struct driver *d, const struct driver_spec *spec, struct driver_result *ret);
void driver_result_release(struct driver_result *r);

/* Asks for a branch; 0 and the driver of it, or -1 with the answer's text in `why`. */
int driver_branch(struct driver *d, struct driver *ret_branch, char *why, size_t why_size);

/* Closes the session's socket and waits for its end: the wait status. */
int driver_stop(struct driver *d);

/* Stops it if it runs, and frees everything. */
void driver_release(struct driver *d);

#endif
