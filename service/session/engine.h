/* engine.h: the session engine: everything the service does, without gRPC.
 *
 * The API is the public contract (proto/pyexec/v1) minus the transport: one function per method,
 * taking the decoded request and answering through a callback with the response message or a
 * fault. rpc/ is a thin layer over it and unit tests call it directly.
 *
 * Threads: every function runs on the loop thread unless its comment says "any thread". Callbacks
 * run on the loop thread, exactly once, possibly before the function returns.
 * Ownership: requests are borrowed for the duration of the call (the engine copies what it keeps);
 * responses are borrowed by the callback.
 * Errors: struct err with the reason of api.md's table; outcomes of code are never errors. */
#ifndef PYEXEC_SESSION_ENGINE_H
#define PYEXEC_SESSION_ENGINE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/pyexec_v1.h"
#include "service/base/err.h"
#include "service/base/list.h"
#include "service/session/execlog.h"

struct engine;
struct execution; /* one run of code, running or retained; counted references */

/* All limits of api.md, each from an option (service/config). Durations in ns, sizes in bytes. */
struct engine_limits {
    uint64_t max_code_bytes;       /* 16 MiB */
    uint32_t max_sessions;         /* 10,000, fewer where RLIMIT_NOFILE says so */
    uint32_t max_running;          /* 4 x cores; beyond it executions wait in order of arrival */
    uint32_t max_session_queue;    /* executions queued behind one session: 64 */
    uint32_t max_waiting;          /* executions waiting for a running slot: 10,000 */
    uint32_t max_labels;           /* 32 */
    uint32_t max_label_bytes;      /* 256, key and value each */
    uint32_t max_env;              /* 256 entries */
    uint32_t max_env_bytes;        /* 128 KiB, all keys and values */
    uint64_t default_output_bytes; /* 64 MiB retained an execution */
    uint64_t max_output_bytes;     /* the most a client may ask for: 1 GiB */
    uint64_t retained_total_bytes; /* all retained logs: 8 GiB, oldest finished ones go first */
    uint64_t run_output_bytes;     /* default bound of Run's collected output: 3 MiB */
    uint32_t max_retained;         /* finished executions kept, whatever their size: 100,000 */
    int64_t retain_ns;             /* results and logs after the end: 10 min */
    int64_t remember_ns;           /* that a session existed, and why it ended: 10 min */
    int64_t default_idle_ns;       /* 30 min */
    int64_t max_idle_ns;           /* 24 h */
    int64_t default_timeout_ns;    /* 1 h */
    int64_t max_timeout_ns;        /* 24 h */
    int64_t interrupt_grace_ns;    /* SIGINT to SIGKILL at a time limit: 5 s */
    int64_t report_ns;             /* for building an exception report or a value: 5 s */
    int64_t dispatch_ns;           /* RUN to STARTED, SPAWN to READY: 30 s */
    int64_t heartbeat_ns;          /* 15 s */
    uint64_t max_stdin_bytes;      /* inline, and buffered while streamed: 16 MiB */
    uint32_t spares;               /* forked and warm ahead of need, per template: 2 */
    uint32_t max_old_pipes;        /* pairs kept for descendants of earlier runs: 4 */
    uint64_t background_bytes;     /* background output kept per session: 1 MiB */
};

/* Fills in the defaults named above (defaults.c). */
void engine_limits_default(struct engine_limits *limits);

struct engine_config {
    const char *node_id;
    const char *boot_id;
    const char *state_dir; /* private directory of this daemon, mode 0700: work/, spool */
    const char *zygote_path;
    const char *python;            /* "" for the built-in one */
    const char *const *preload;    /* NULL-terminated */
    const char *const *work_roots; /* directories that working_directory may lie below */
    const char *profile;           /* "none", "standard" */
    bool require_confinement;
    const char *log_level;
    const char *server_version;
    struct engine_limits limits;
    int launcher_fd; /* taken */
};

/* Sets up on `loop` and starts the first zygote; sessions can be asked for at once (they wait).
 * `config` is copied. 0 or -1. */
int engine_new(const struct engine_config *config, uv_loop_t *loop, struct engine **ret_engine,
               struct err *err);

/* `ready` is called once: when the first zygote is ready (err NULL), or can't be made. */
void engine_on_ready(struct engine *engine, void (*ready)(void *ctx, const struct err *err),
                     void *ctx);
/* `fatal` is called when the engine can't go on (the launcher died); executions have results. */
void engine_on_fatal(struct engine *engine, void (*fatal)(void *ctx, const struct err *err),
                     void *ctx);

/* Stops taking work (SERVER_DRAINING); running executions go on until `drain_ns` has passed, then
 * are interrupted and killed, each with a result. `done` is called when nothing runs any more. */
void engine_drain(struct engine *engine, int64_t drain_ns, void (*done)(void *ctx), void *ctx);

/* After drain: kills every session, closes every handle on the loop, then calls `done`; only then
 * may engine_free be called. */
void engine_close(struct engine *engine, void (*done)(void *ctx), void *ctx);
void engine_free(struct engine *engine);

/* A task for the loop thread. Any thread. The struct is the caller's, embedded in its own; it must
 * live until `run` was called. Tasks run in order of posting. */
struct engine_task {
    struct list node;
    void (*run)(struct engine_task *task);
};
void engine_post(struct engine *engine, struct engine_task *task);

/* Who asks. NULL means nobody in particular (a Unix socket with file permissions). */
struct engine_caller {
    const char *principal; /* sessions belong to it; "" when there is no authentication */
};

/* The answer: exactly one of `response` and `err` is not NULL. */
typedef void engine_done_fn(void *ctx, const ProtobufCMessage *response, const struct err *err);

#define ENGINE_UNARY(name, Request)                                               \
    void engine_##name(struct engine *engine, const struct engine_caller *caller, \
                       const Pyexec__V1__##Request *request, engine_done_fn *done, void *ctx)

ENGINE_UNARY(create_session, CreateSessionRequest);
ENGINE_UNARY(get_session, GetSessionRequest);
ENGINE_UNARY(list_sessions, ListSessionsRequest);
ENGINE_UNARY(renew_session, RenewSessionRequest);
ENGINE_UNARY(fork_session, ForkSessionRequest);
ENGINE_UNARY(restart_session, RestartSessionRequest);
ENGINE_UNARY(delete_session, DeleteSessionRequest);
ENGINE_UNARY(start_execution, StartExecutionRequest);
ENGINE_UNARY(get_execution, GetExecutionRequest);
ENGINE_UNARY(list_executions, ListExecutionsRequest);
ENGINE_UNARY(interrupt_execution, InterruptExecutionRequest);
ENGINE_UNARY(write_stdin, WriteStdinRequest);
ENGINE_UNARY(stat_file, StatFileRequest);
ENGINE_UNARY(list_files, ListFilesRequest);
ENGINE_UNARY(write_file, WriteFileRequest);
ENGINE_UNARY(make_directory, MakeDirectoryRequest);
ENGINE_UNARY(move_file, MoveFileRequest);
ENGINE_UNARY(delete_file, DeleteFileRequest);
ENGINE_UNARY(get_server_info, GetServerInfoRequest);
ENGINE_UNARY(get_server_stats, GetServerStatsRequest);

/* --- streams: Execute, Run, AttachExecution ---------------------------------------------------
 * An attachment is one caller's cursor on one execution's log. */
struct engine_attachment {
    struct log_reader reader; /* set `reader.on_ready` before attaching */
    struct execution *execution;
    bool owner; /* made by Execute or Run: when the last attachment goes, reattach_grace counts */
    bool replayed;        /* the execution_id was known: this is a re-attach */
    int64_t heartbeat_ns; /* the engine's: what AttachExecution asked for, 0 for nothing */
};

/* Answers with err NULL once `attachment` is attached (reading starts at the first event), or
 * with the fault. `caller_deadline_ns` is the call's own deadline (CLOCK_NEVER: none): it caps the
 * time limit when reattach_grace is 0. `run_request` true takes the output bound of Run. */
typedef void engine_attached_fn(void *ctx, const struct err *err);
void engine_execute(struct engine *engine, const struct engine_caller *caller,
                    const char *session_id, const char *execution_id,
                    const Pyexec__V1__ExecutionSpec *spec, int64_t receive_mono_ns,
                    int64_t caller_deadline_ns, bool run_request,
                    struct engine_attachment *attachment, engine_attached_fn *done, void *ctx);
void engine_attach(struct engine *engine, const struct engine_caller *caller,
                   const Pyexec__V1__AttachExecutionRequest *request,
                   struct engine_attachment *attachment, engine_attached_fn *done, void *ctx);

/* The call is over. `gone` true when the caller vanished before it had the result. Afterwards
 * on_ready is never called again and the struct may be freed. */
void engine_detach(struct engine *engine, struct engine_attachment *attachment, bool gone);

/* For a cancelled call whose engine_execute/engine_attach has not answered yet: the answer comes
 * all the same (as ever exactly once), and then engine_detach(…, true) is due. */

/* Run: the whole answer of a finished execution: result, stdout, stderr, displays. Any thread,
 * after the reader saw the end. The message is the caller's: free with
 * pyexec__v1__run_response__free_unpacked(m, NULL). 0 or -1. */
int engine_collect_run(struct execution *execution, Pyexec__V1__RunResponse **ret_response,
                       struct err *err);

/* Effective heartbeat interval of an attachment in ns (spec or request, else the default). */
int64_t engine_heartbeat_ns(const struct engine_attachment *attachment);
/* Packs a response with a Heartbeat event. 0 or -1. Any thread. */
int engine_pack_heartbeat(const struct engine_attachment *attachment, struct buf *out);

/* --- ReadFile ----------------------------------------------------------------------------------
 * The engine opens and checks; the caller reads bytes [offset, end) of `fd` with pread, where a file
 * that was cut meanwhile ends early. `file` is borrowed: take the descriptor by setting fd to -1,
 * and the description by setting info to NULL (free it with free_unpacked). */
struct engine_file {
    int fd;
    Pyexec__V1__FileInfo *info;
    uint64_t offset;
    uint64_t end;
};
typedef void engine_file_fn(void *ctx, struct engine_file *file, const struct err *err);
void engine_open_file(struct engine *engine, const struct engine_caller *caller,
                      const Pyexec__V1__ReadFileRequest *request, engine_file_fn *opened,
                      void *ctx);

/* --- WatchSessions ---------------------------------------------------------------------------- */
struct engine_watch {
    /* Loop thread. `response` is a WatchSessionsResponse, borrowed. Returns false when the watcher
     * can't take more (queue full): it is then dropped and `on_change` is not called again. */
    bool (*on_change)(struct engine_watch *watch,
                      const Pyexec__V1__WatchSessionsResponse *response);
    struct list node;
    const char *principal;
    void *labels; /* the engine's */
};
int engine_watch_sessions(struct engine *engine, const struct engine_caller *caller,
                          const Pyexec__V1__WatchSessionsRequest *request,
                          struct engine_watch *watch, struct err *err);
void engine_unwatch(struct engine *engine, struct engine_watch *watch);

/* --- counters and histograms: any thread ------------------------------------------------------ */
enum engine_histogram {
    ENGINE_HIST_EXECUTE_TOTAL,
    ENGINE_HIST_EXECUTE_DISPATCH,
    ENGINE_HIST_SESSION_CREATE,
    ENGINE_HIST_FIRST_OUTPUT,
    ENGINE_HIST_COUNT
};
void engine_observe(struct engine *engine, enum engine_histogram which, int64_t ns);
enum engine_counter {
    ENGINE_COUNT_CALLS,
    ENGINE_COUNT_CALLS_REFUSED,
    ENGINE_COUNT_BYTES_SENT,
    ENGINE_COUNT_EXECUTIONS,
    ENGINE_COUNT_SESSIONS,
    ENGINE_COUNT_ZYGOTE_RESTARTS,
    ENGINE_COUNT_COUNT
};
void engine_count(struct engine *engine, enum engine_counter which, uint64_t n);

#endif
