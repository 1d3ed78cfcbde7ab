/* pyexec.h: libpyexec, the typed C client of pyexecd.
 *
 *     struct pyexec_error err;
 *     struct pyexec_client *client;
 *     if (pyexec_connect("unix:/run/pyexec/pyexecd.sock", &client, &err) < 0) ...
 *     struct pyexec_spec spec = {.code = "print(1)\n6 * 7"};
 *     struct pyexec_result *result;
 *     if (pyexec_execute(client, &spec, on_event, ctx, &result, &err) < 0) ...
 *     pyexec_result_free(result);
 *     pyexec_close(client);
 *
 * Two families of failure, never mixed. A function that returns -1 was not served: `err` has the
 * gRPC status and the server's reason. What the *code* did (an exception, a time limit, a crash)
 * is a success here: read result->status.
 *
 * Threads: a client may be used by any number of threads at once; every call blocks its own
 * thread and no other. So one thread runs code and another one calls pyexec_interrupt on it, or
 * pyexec_cancel. Callbacks run on the thread of the call. Signals never end a blocked call: a
 * program that wants Ctrl-C to do something takes the signal on a thread of its own (sigwait).
 * The library starts threads (gRPC's): block the signals you wait for before pyexec_connect.
 * Do not fork without exec once a client exists.
 *
 * Ownership: arguments are borrowed for the call. What comes out through `ret_*` is the caller's
 * and is freed by its own function; every pointer in it lives as long as it does. What a callback
 * gets is borrowed until it returns. `ret_*` is untouched on failure. free(NULL) is fine.
 *
 * Units: durations are milliseconds where you give them (0 is the server's default unless said
 * otherwise) and nanoseconds where you get them; points in time are nanoseconds since the epoch,
 * 0 when not set. Strings are UTF-8; absent ones are "", never NULL.
 *
 * Limits: messages up to 128 MiB are received; one execute or attach tries PYEXEC_MAX_TRIES times
 * in a row without progress. The server's own limits come from pyexec_info. */
#ifndef PYEXEC_CLIENTS_C_PYEXEC_H
#define PYEXEC_CLIENTS_C_PYEXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PYEXEC_MAX_TRIES 6
#define PYEXEC_MAX_PAIRS 1024 /* env, labels: entries of one request */
#define PYEXEC_ERROR_DETAILS 4

/* The gRPC statuses that a caller may want to tell apart without grpc's headers. */
enum pyexec_code {
    PYEXEC_CODE_CANCELLED = 1,
    PYEXEC_CODE_INVALID_ARGUMENT = 3,
    PYEXEC_CODE_DEADLINE_EXCEEDED = 4,
    PYEXEC_CODE_NOT_FOUND = 5,
    PYEXEC_CODE_RESOURCE_EXHAUSTED = 8,
    PYEXEC_CODE_FAILED_PRECONDITION = 9,
    PYEXEC_CODE_ABORTED = 10,
    PYEXEC_CODE_UNIMPLEMENTED = 12,
    PYEXEC_CODE_INTERNAL = 13,
    PYEXEC_CODE_UNAVAILABLE = 14,
};

/* Fixed size, the caller's; nothing is allocated to report. Longer texts are cut. */
struct pyexec_error {
    int code;           /* gRPC status, 1..16 */
    char reason[64];    /* ErrorInfo.reason, for example "SESSION_NOT_FOUND"; "" when not given:
                           the failure is the connection's or this library's. Match on this. */
    char message[512];  /* for a person */
    int64_t retry_ms;   /* the server says that trying again after this long helps; -1 otherwise */
    unsigned n_details; /* ErrorInfo.metadata, for example currentExecutionId */
    struct {
        char key[64];
        char value[192];
    } details[PYEXEC_ERROR_DETAILS];
};

/* NULL when the error has no such detail. */
const char *pyexec_error_detail(const struct pyexec_error *err, const char *key);

/* --- the connection --------------------------------------------------------------------------- */
struct pyexec_client;

/* `address`: unix:/path, unix-abstract:name or host:port. Nothing is sent yet: an address where
 * nobody listens shows at the first call, as UNAVAILABLE without a reason. */
int pyexec_connect(const char *address, struct pyexec_client **ret_client,
                   struct pyexec_error *err);

/* No call may be in progress. */
void pyexec_close(struct pyexec_client *client);

/* Deadline of the calls that answer at once (everything but execute, attach, run); default 30 s. */
void pyexec_set_timeout(struct pyexec_client *client, int64_t timeout_ms);

/* Ends every call in progress with CANCELLED, and every later one, until pyexec_uncancel. A
 * cancelled execute leaves its execution to the server: reattach_grace decides. Any thread. */
void pyexec_cancel(struct pyexec_client *client);
void pyexec_uncancel(struct pyexec_client *client);

/* --- results ---------------------------------------------------------------------------------- */
struct pyexec_pair {
    const char *key;
    const char *value;
};

struct pyexec_part {
    const char *mime_type;
    const void *data; /* of `len` bytes, not NUL-terminated */
    size_t len;
    const char *file_path; /* "" unless the part was too large: then it is in this file */
    uint64_t file_size;
};

/* All representations of one value, richest first. */
struct pyexec_bundle {
    const struct pyexec_part *parts;
    size_t n_parts; /* 0: there is no value */
};

/* The part of that MIME type, or NULL. */
const struct pyexec_part *pyexec_bundle_find(const struct pyexec_bundle *bundle,
                                             const char *mime_type);

/* Values as on the wire; one that this library doesn't know is passed on. */
enum pyexec_status {
    PYEXEC_STATUS_UNSPECIFIED = 0,
    PYEXEC_STATUS_OK = 1,
    PYEXEC_STATUS_ERROR = 2,         /* an uncaught exception */
    PYEXEC_STATUS_TIMEOUT_ERROR = 3, /* the time limit */
    PYEXEC_STATUS_INTERRUPTED = 4,
    PYEXEC_STATUS_CANCELLED = 5, /* the caller went away */
    PYEXEC_STATUS_EXITED = 6,    /* sys.exit, os._exit: see exit_code */
    PYEXEC_STATUS_CRASHED = 7,   /* see signal */
    PYEXEC_STATUS_RESOURCE_LIMIT = 8,
    PYEXEC_STATUS_SERVER_ERROR = 9,
};
/* "OK", "TIMEOUT_ERROR", ...; "UNKNOWN" for a value that this library doesn't know. */
const char *pyexec_status_name(enum pyexec_status status);

struct pyexec_frame {
    const char *file;
    uint32_t line;
    const char *function;
    const char *source_line;
};

struct pyexec_result {
    enum pyexec_status status;
    const char *session_id;
    const char *execution_id;
    uint64_t execution_count;
    const char *exc_type;
    const char *exc_message;
    const char *traceback; /* whole, as Python prints it, but for the last newline */
    const struct pyexec_frame *frames;
    size_t n_frames;
    struct pyexec_bundle value; /* of the last expression */
    bool has_exit_code;
    int exit_code;
    int signal; /* 0: none */
    const char *exceeded_limit;
    bool session_alive; /* false: variables are gone, pyexec_restart_session brings it back empty */
    uint64_t stdout_bytes;
    uint64_t stderr_bytes;
    uint64_t dropped_bytes;
    int64_t queue_ns;
    int64_t run_ns;
    int64_t total_ns;
    const char *const *warnings;
    size_t n_warnings;
    /* Everything else, as generated by protobuf-c from types.proto; borrowed. */
    const struct Pyexec__V1__ExecutionResult *message;
};
void pyexec_result_free(struct pyexec_result *result);

/* --- running code ----------------------------------------------------------------------------- */
enum pyexec_stdin {
    PYEXEC_STDIN_CLOSED, /* input() raises EOFError at once */
    PYEXEC_STDIN_INLINE, /* the bytes of stdin_data, then end of file */
    PYEXEC_STDIN_STREAM, /* what pyexec_write_stdin sends */
};

/* Zero everything that you do not care about. */
struct pyexec_spec {
    const char *session_id;   /* NULL or "": a throw-away process, gone afterwards */
    const char *execution_id; /* NULL: a random one. Idempotency key: the same id with the same spec
                                 attaches to what runs already */
    const char *code;         /* NUL-terminated, UTF-8 */
    const char *filename;     /* shown in tracebacks */
    int64_t timeout_ms;       /* from when the code starts */
    bool queue;               /* wait behind a running execution instead of SESSION_BUSY */
    enum pyexec_stdin stdin_mode;
    const void *stdin_data;
    size_t stdin_len;
    const struct pyexec_pair *env;
    size_t n_env;
    const struct pyexec_pair *labels;
    size_t n_labels;
    uint64_t max_output_bytes;
    bool block_on_overflow;    /* the program waits for a slow reader; nothing is dropped */
    int64_t reattach_grace_ms; /* the code runs on this long without a caller; 0: not at all */
    int64_t heartbeat_ms;
    bool silent; /* don't count, don't evaluate the last expression */
    bool ipython_traceback;
    bool write_source_file;
    bool report_changed_files;
};

enum pyexec_event_kind {
    PYEXEC_EVENT_UNKNOWN = 0, /* of a newer server: ignore it */
    PYEXEC_EVENT_STARTED,
    PYEXEC_EVENT_STDOUT,
    PYEXEC_EVENT_STDERR,
    PYEXEC_EVENT_DISPLAY,
    PYEXEC_EVENT_CLEAR_OUTPUT,
    PYEXEC_EVENT_INPUT_REQUEST,
    PYEXEC_EVENT_HEARTBEAT,
    PYEXEC_EVENT_GAP, /* bytes of a stream that this reader can't have */
    PYEXEC_EVENT_RESULT,
};

struct pyexec_event {
    enum pyexec_event_kind kind;
    uint64_t seq; /* 0 on heartbeats */
    int64_t time_ns;
    union {
        struct {
            const char *session_id;
            const char *execution_id;
            uint64_t execution_count;
            int64_t effective_timeout_ns;
            bool replayed;
        } started;
        struct { /* STDOUT, STDERR */
            const void *data;
            size_t len;
            uint64_t offset;
        } output;
        struct {
            struct pyexec_bundle bundle;
            const char *display_id;
            bool update;
        } display;
        struct {
            bool wait;
        } clear_output;
        struct {
            const char *prompt;
            bool password;
            uint64_t stdin_offset;
        } input_request;
        struct {
            int64_t elapsed_ns;
        } heartbeat;
        struct {
            bool is_stderr;
            uint64_t offset;
            uint64_t size;
        } gap;
        const struct pyexec_result *result;
    };
    const struct Pyexec__V1__ExecutionEvent *message; /* borrowed */
};

/* Return 0 to go on; anything else cancels the call, which then fails with CANCELLED. */
typedef int pyexec_event_fn(void *ctx, const struct pyexec_event *event);

/* A random id (128 bits, printable) for an execution or a request. 0, or -1. */
#define PYEXEC_ID_SIZE 40
int pyexec_new_id(char ret_id[PYEXEC_ID_SIZE], struct pyexec_error *err);

/* Runs code; every event goes to `on_event` (NULL: none), the result last of all. A connection
 * that breaks, or is silent for a minute, is attached to again by itself, from the last event on,
 * with the pause that the server asks for or a growing one; so the callback sees each event once.
 * Before the first event it tries again where the server says that waiting helps, or where it had
 * answered before: the execution id keeps the code from running twice. */
int pyexec_execute(struct pyexec_client *client, const struct pyexec_spec *spec,
                   pyexec_event_fn *on_event, void *ctx, struct pyexec_result **ret_result,
                   struct pyexec_error *err);

/* Replays the events of an execution after `after_seq` (0: all) and follows it to its result;
 * otherwise as pyexec_execute. Any number may attach. */
int pyexec_attach(struct pyexec_client *client, const char *session_id, const char *execution_id,
                  uint64_t after_seq, pyexec_event_fn *on_event, void *ctx,
                  struct pyexec_result **ret_result, struct pyexec_error *err);

/* Runs code and answers once. */
struct pyexec_run {
    struct pyexec_result *result; /* freed with this */
    const void *stdout_data;
    size_t stdout_len;
    const void *stderr_data;
    size_t stderr_len;
    const struct Pyexec__V1__RunResponse *message;
};
int pyexec_run(struct pyexec_client *client, const struct pyexec_spec *spec,
               struct pyexec_run **ret_run, struct pyexec_error *err);
void pyexec_run_free(struct pyexec_run *run);

/* Starts code that runs to its end with or without a caller; returns its ids. */
enum pyexec_execution_state {
    PYEXEC_EXECUTION_UNSPECIFIED = 0,
    PYEXEC_EXECUTION_QUEUED = 1,
    PYEXEC_EXECUTION_RUNNING = 2,
    PYEXEC_EXECUTION_WAITING_FOR_INPUT = 3,
    PYEXEC_EXECUTION_FINISHED = 4,
};
struct pyexec_execution {
    const char *session_id;
    const char *execution_id;
    enum pyexec_execution_state state;
    int64_t create_ns, start_ns, end_ns;
    uint64_t last_seq;
    struct pyexec_result *result; /* NULL until finished; freed with this */
    const struct Pyexec__V1__Execution *message;
};
void pyexec_execution_free(struct pyexec_execution *execution);
int pyexec_start(struct pyexec_client *client, const struct pyexec_spec *spec,
                 struct pyexec_execution **ret_execution, struct pyexec_error *err);
/* `wait_ms` > 0: answers when the execution is finished, or after that long. */
int pyexec_get_execution(struct pyexec_client *client, const char *session_id,
                         const char *execution_id, int64_t wait_ms,
                         struct pyexec_execution **ret_execution, struct pyexec_error *err);

enum pyexec_interrupt_mode {
    PYEXEC_INTERRUPT = 1, /* KeyboardInterrupt in the code */
    PYEXEC_KILL = 2,      /* the interpreter is killed; the session is dead until restarted */
};
/* `execution_id` NULL or "": whatever runs now. Harmless on what has ended. */
int pyexec_interrupt(struct pyexec_client *client, const char *session_id, const char *execution_id,
                     enum pyexec_interrupt_mode mode, struct pyexec_error *err);

/* Bytes for an execution with PYEXEC_STDIN_STREAM, at `offset` of that stream (start with the one
 * of the input_request event, or 0). Repeating a write is harmless. */
int pyexec_write_stdin(struct pyexec_client *client, const char *session_id,
                       const char *execution_id, uint64_t offset, const void *data, size_t len,
                       bool eof, uint64_t *ret_next_offset, struct pyexec_error *err);

/* --- sessions --------------------------------------------------------------------------------- */
struct pyexec_session_spec {
    const char *request_id; /* NULL: none. Idempotency key */
    const char *template_id;
    const char *working_directory;
    int64_t idle_timeout_ms;
    const struct pyexec_pair *labels;
    size_t n_labels;
    const struct pyexec_pair *env;
    size_t n_env;
};
enum pyexec_session_state {
    PYEXEC_SESSION_UNSPECIFIED = 0,
    PYEXEC_SESSION_STARTING = 1,
    PYEXEC_SESSION_IDLE = 2,
    PYEXEC_SESSION_BUSY = 3,
    PYEXEC_SESSION_DEAD = 4,
    PYEXEC_SESSION_CLOSED = 5,
};
const char *pyexec_session_state_name(enum pyexec_session_state state);

struct pyexec_session {
    const char *session_id;
    enum pyexec_session_state state;
    int64_t create_ns, last_used_ns, expire_ns;
    const char *current_execution_id; /* "" when idle */
    const char *working_directory;
    uint64_t execution_count;
    uint32_t generation; /* changes when the interpreter was restarted */
    uint64_t rss_bytes;
    const struct Pyexec__V1__Session *message;
};
void pyexec_session_free(struct pyexec_session *session);

int pyexec_create_session(struct pyexec_client *client, const struct pyexec_session_spec *spec,
                          struct pyexec_session **ret_session, struct pyexec_error *err);
int pyexec_get_session(struct pyexec_client *client, const char *session_id,
                       struct pyexec_session **ret_session, struct pyexec_error *err);
int pyexec_restart_session(struct pyexec_client *client, const char *session_id,
                           struct pyexec_session **ret_session, struct pyexec_error *err);
/* Deleting twice is fine. */
int pyexec_delete_session(struct pyexec_client *client, const char *session_id,
                          struct pyexec_error *err);

/* One page, newest first. `page_token` NULL or "": the first; next_page_token "": that was all. */
struct pyexec_session_list {
    const struct pyexec_session *sessions;
    size_t n_sessions;
    const char *next_page_token;
    const struct Pyexec__V1__ListSessionsResponse *message;
};
int pyexec_list_sessions(struct pyexec_client *client, const char *page_token,
                         struct pyexec_session_list **ret_list, struct pyexec_error *err);
void pyexec_session_list_free(struct pyexec_session_list *list);

/* --- the server ------------------------------------------------------------------------------- */
struct pyexec_info {
    const char *server_version;
    const char *api_version;
    const char *node_id;
    const char *boot_id; /* changes at every start: sessions of an earlier one are gone */
    const char *python_version;
    int64_t start_ns;
    uint32_t sessions, max_sessions;
    uint32_t running, max_running;
    bool draining;
    const struct Pyexec__V1__GetServerInfoResponse *message;
};
int pyexec_info(struct pyexec_client *client, struct pyexec_info **ret_info,
                struct pyexec_error *err);
void pyexec_info_free(struct pyexec_info *info);

/* One round trip; `ret_ns` is how long it took. */
int pyexec_ping(struct pyexec_client *client, int64_t *ret_ns, struct pyexec_error *err);

/* grpc.health.v1 of the whole server: whether it takes work now. */
int pyexec_health(struct pyexec_client *client, bool *ret_serving, struct pyexec_error *err);

#ifdef __cplusplus
}
#endif

#endif
