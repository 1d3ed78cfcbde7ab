/* internal.h: the engine's objects and what its files offer each other. Loop thread only, unless a
 * comment says otherwise. Read engine.c's first comment before this. */
#ifndef PYEXEC_SESSION_INTERNAL_H
#define PYEXEC_SESSION_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "internal/session.pb-c.h"
#include "internal/zygote.pb-c.h"
#include "service/base/clock.h"
#include "service/base/fd.h"
#include "service/base/id.h"
#include "service/base/log.h"
#include "service/base/strmap.h"
#include "service/session/engine.h"
#include "service/session/order.h"
#include "service/session/session_state.h"
#include "service/session/spool.h"
#include "service/session/timers.h"
#include "service/wire/session_frames.h"
#include "service/wire/wire.h"
#include "service/wire/zygote_frames.h"

#define TEMPLATE_DEFAULT "default"
#define BACKGROUND_ID "background" /* execution_id of a session's background output */
#define EXECUTION_KEY_MAX (ID_SESSION_MAX + 1 + ID_CLIENT_MAX + 1)

struct process;
struct session;
struct zygote;

/* --- reaper.c ----------------------------------------------------------------------------------
 * A channel is a socket to somebody who reaps processes: a zygote, or the launcher for those whose
 * zygote died. */
struct channel {
    struct engine *engine;
    uv_poll_t poll;
    uv_poll_cb on_event;
    int fd; /* -1: lost or closed */
    bool polling;
    struct wire_reader reader;
    struct wire_writer writer;
    struct list processes; /* struct process.reaped_by */
};

/* 0, or -1 when the channel is of no use any more; its end of file comes through its poll. */
int channel_send(struct channel *channel, uint16_t type, const ProtobufCMessage *message,
                 const int *fds, size_t fd_count);
/* Deals with a frame about a process; false when it is none. */
bool reaper_frame(struct channel *channel, const struct wire_frame *frame);
void reaper_signal(struct process *process, int signal, bool group);
void reaper_kill(struct process *process);
/* To the reaper of a session (NULL: it is gone), around a fork that the session makes itself. 0 or -1. */
int reaper_branch_begin(struct channel *reaper, pid_t session, uint64_t token);
int reaper_branch_end(struct channel *reaper, uint64_t token, pid_t pid);

/* --- zygotes.c --------------------------------------------------------------------------------- */
struct zygote {
    struct channel channel;
    struct list node; /* engine.zygotes */
    uint64_t token;
    pid_t pid; /* 0 until STARTED */
    bool ready;
    bool exited; /* the launcher said so, or it never started */
    int64_t ready_at;
};

struct zygotes {
    struct channel launcher;
    bool launcher_lost;
    struct list all;
    struct zygote *current; /* takes SPAWNs; NULL while none is starting or ready */
    struct list waiting;    /* struct process.spawn_node: for a current zygote */
    struct timer retry;
    unsigned failures; /* in a row, for the back-off */
    bool was_ready;    /* some zygote was, once */
    uint64_t tokens;
    Pyexec__Internal__ZygoteReady *facts; /* of the last ready one, or NULL */
};

int zygotes_init(struct engine *engine, int take_launcher_fd, struct err *err);
/* Hands a process's descriptors to the current zygote, now or when there is one. */
void zygotes_spawn(struct engine *engine, struct process *process);
/* A SPAWN was left unanswered: the zygote hangs. */
void zygotes_hung(struct zygote *zygote);
void zygotes_close(struct engine *engine);
void zygotes_abandon(struct engine *engine); /* closing took too long */
void zygotes_release(struct engine *engine);

/* --- process.c, io.c: one session process ------------------------------------------------------ */
enum process_state {
    PROCESS_WAITING, /* for a zygote */
    PROCESS_SPAWNING,
    PROCESS_WARMING, /* forked, not READY yet */
    PROCESS_READY,
    PROCESS_ENDED, /* nothing of it is left but this struct */
};

/* A pair of pipes that descendants of earlier runs may still hold. */
struct old_pipe {
    struct list node;
    struct process *process;
    uv_poll_t poll;
    int fd;
    enum log_stream stream;
};

struct process {
    struct engine *engine;
    uint64_t serial; /* names it in SPAWN and SIGNAL; never used twice */
    enum process_state state;
    struct session *session; /* NULL: a spare, or one that nobody wants */
    struct list spare_node;
    bool spare;
    bool was_spare;
    bool used; /* something was STARTED in it */
    bool warm_up;

    pid_t pid;
    struct channel *reaper;
    struct list reaped_by;
    struct list spawn_node;
    struct timer timer; /* spawn, then ready */
    unsigned signals_pending;
    bool kill_sent;
    bool kill_wanted; /* before the pid was known */
    bool ready_early; /* READY came before SPAWNED */

    int control;
    int pipe[2];
    int child_fds[4];    /* control, stdout, stderr, page: until they went to the zygote */
    uv_poll_t *polls[3]; /* control, stdout, stderr; NULL: closed */
    int poll_events[3];
    unsigned open_handles;
    struct session_page *page;
    bool publishing; /* false between a RUN with fresh pipes and its STARTED */
    struct order order;
    struct wire_reader reader;
    struct wire_writer writer;
    bool paused; /* OVERFLOW_POLICY_BLOCK: no room */
    bool pumping;

    uint64_t run;                /* of the last RUN */
    struct execution *execution; /* whose RUN is out; its output from STARTED to DONE */
    bool started;
    int fresh[2]; /* read ends of pipes that the next STARTED brings into use */
    bool descendants;
    struct list old_pipes; /* oldest first */
    unsigned old_count;

    bool exited; /* EXITED was read */
    int wait_status;
    const char *broken; /* the rule of the control protocol that it broke, static, or NULL */
    bool vanished;      /* its reaper is gone: nobody will ever report its end */
    bool unseen;        /* it ended, and nobody saw how */
    uint64_t cpu_user_ns;
    uint64_t cpu_system_ns;
    uint64_t max_rss_bytes;
};

/* Makes descriptors and asks for a fork. 0, or -1 with FORK_FAILED or NODE_AT_CAPACITY. */
int process_spawn(struct engine *engine, bool warm_up, struct process **ret_process,
                  struct err *err);
/* A branch's process: the same, but the fork is another process's business; the caller sends
 * child_fds away and calls process_lent. */
int process_make(struct engine *engine, struct process **ret_process, struct err *err);
void process_sent(struct process *process, struct channel *reaper);
void process_lent(struct process *process); /* the descriptors went to the parent */
void process_spawned(struct process *process, pid_t pid, struct channel *reaper);
void process_ready(struct process *process);
void process_failed(struct process *process, const struct err *err);
void process_exited(struct process *process, const Pyexec__Internal__ZygoteExited *facts);
void process_kill(struct process *process);
void process_interrupt(struct process *process);
void process_signalled(struct process *process);
/* Sends a frame on the control socket; -1 when it can't be (the process is then killed). */
int process_send(struct process *process, enum session_frame type, const void *payload, size_t size,
                 const int *fds, size_t fd_count);
/* Closes all it holds; the struct goes when its handles are closed. */
void process_discard(struct process *process);
void process_resume(struct process *process); /* the log has room again */
void process_each(struct engine *engine, void (*fn)(struct process *process, void *ctx), void *ctx);

/* io.c */
int io_open(struct process *process);
void io_close(struct process *process);
void io_pump(struct process *process);
void io_drain(struct process *process); /* after its end: everything that is in the pipes */
void io_watch_control(struct process *process);
int io_make_pipes(int ret_read[2], int ret_write[2]); /* 0 or a negative errno */
void io_use_fresh(struct process *process);           /* at STARTED */
void io_reset_page(struct process *process);

/* frames.c: what a session says. */
void frames_handle(struct process *process, const struct wire_frame *frame);
void frames_broken(struct process *process, const char *rule);
const struct order_ends *io_ends(struct process *process, struct order_ends *space);

/* --- stdin.c ----------------------------------------------------------------------------------- */
struct stdin_feed;
/* `data` is copied. NULL when memory is out. */
struct stdin_feed *stdin_new(struct engine *engine, const void *data, size_t size, bool eof);
/* Makes the pipe; *ret_fd is the session's end, the caller's. 0 or a negative errno. */
int stdin_open(struct stdin_feed *feed, int *ret_fd);
int stdin_write(struct stdin_feed *feed, const Pyexec__V1__WriteStdinRequest *request,
                uint64_t *ret_next, bool *ret_closed, struct err *err);
uint64_t stdin_accepted(const struct stdin_feed *feed);
void stdin_close(struct stdin_feed *feed); /* frees, by and by; NULL is fine */

/* --- execution.c ------------------------------------------------------------------------------- */
enum execution_state {
    EXECUTION_QUEUED,     /* behind others, for a slot, or for its session's process */
    EXECUTION_DISPATCHED, /* RUN is out */
    EXECUTION_RUNNING,    /* STARTED */
    EXECUTION_REPORTING,
    EXECUTION_FINISHED,
};

/* Why the engine itself ended it; the first one counts, a time limit before all. */
enum execution_cause {
    CAUSE_NONE,
    CAUSE_INTERRUPTED, /* InterruptExecution */
    CAUSE_KILLED,      /* InterruptExecution with MODE_KILL, or kill_after passed */
    CAUSE_ABANDONED,   /* the caller went and reattach_grace ran out */
    CAUSE_DELETED,
    CAUSE_RESTARTED,
    CAUSE_DIED, /* its session did, before its turn came */
    CAUSE_EXPIRED,
    CAUSE_DRAINED,
    CAUSE_DISPATCH, /* RUN was not taken up in time */
    CAUSE_REPORT,   /* the report was not made in time */
    CAUSE_ENGINE,   /* descriptors or memory were short */
};

struct execution {
    _Atomic unsigned refs;
    struct engine *engine;
    struct session *session; /* NULL once finished */
    char session_id[ID_SESSION_MAX + 1];
    char execution_id[ID_CLIENT_MAX + 1];
    char *principal;
    bool throw_away;
    bool background; /* a session's background output: not counted, not dispatched */
    bool listed;     /* in engine.executions */
    bool announced;  /* the `started` event is in the log */
    uint64_t ordinal;
    struct list all_node;            /* engine.all_executions, oldest first */
    struct list queue_node;          /* session.queue, or engine.finished */
    struct list births;              /* struct waiter: for a throw-away session's process */
    struct list waiters;             /* struct waiter: for the end */
    Pyexec__V1__ExecutionSpec *spec; /* NULL once finished */
    uint64_t spec_hash[2];
    struct execlog *log;
    enum execution_state state;
    bool waiting_for_input;
    enum execution_cause cause;
    bool timed_out;
    bool want_interrupt; /* as soon as it has STARTED */
    bool interrupt_sent;
    uint64_t run;
    uint64_t execution_count;

    int64_t timeout_ns;
    int64_t reattach_ns; /* CLOCK_NEVER: runs on whoever is there */
    int64_t heartbeat_ns;
    int64_t receive_ns;
    int64_t queued_ns;
    int64_t dispatched_ns;
    int64_t started_ns; /* 0: never */
    int64_t finished_ns;
    int64_t first_output_ns;
    int64_t create_real_ns;
    int64_t start_real_ns;
    int64_t end_real_ns;

    struct timer timer;  /* dispatch, limit, report: one after the other */
    struct timer killer; /* the grace after an interrupt */
    struct timer abandon;
    unsigned attachments;
    bool owned; /* by the call that made it: reattach_grace counts */
    struct stdin_feed *feed;
    struct engine_task drained;
    atomic_bool drained_posted;
};

/* A call that waits for an execution: for its session's process (births) or its end (waiters). */
struct waiter {
    struct list node;
    struct execution *execution; /* a reference */
    struct timer timer;
    engine_done_fn *done; /* one of these two */
    engine_attached_fn *attached;
    void *ctx;
    struct engine_attachment *attachment;
    bool replayed;
};

struct execution_new {
    const char *principal;
    const char *session_id;
    const char *execution_id; /* "" makes one */
    const Pyexec__V1__ExecutionSpec *spec;
    int64_t receive_ns;
    int64_t deadline_ns; /* of the call, or CLOCK_NEVER */
    bool collected;      /* by Run: its output bound */
    bool owned;
};

struct execution *execution_ref(struct execution *execution);
void execution_unref(struct execution *execution); /* loop thread */
struct execution *execution_find(struct engine *engine, const char *session_id,
                                 const char *execution_id);
/* Its background pseudo-execution, made at need; NULL when memory is out. */
struct execution *execution_background(struct session *session);
/* Forgets: no longer found, its log goes when nobody reads it. */
void execution_forget(struct execution *execution);
void execution_retain(struct execution *execution); /* from its end on */
/* The same for one whose session never came to be: it has no result. */
void execution_forget_unborn(struct execution *execution);
/* Frees retained ones that are due or beyond the bound. */
void executions_expire(struct engine *engine);
void executions_release(struct engine *engine);
void spec_digest(const Pyexec__V1__ExecutionSpec *spec, uint64_t ret_hash[2]);
/* A throw-away session's process is there (err NULL), or never will be. */
void execution_born(struct execution *execution, const struct err *err);
/* The `started` event, once. */
void execution_announce(struct execution *execution);
int execution_attach(struct execution *execution, struct engine_attachment *attachment,
                     uint64_t after_seq, bool replayed, struct err *err);
void execution_answer(struct execution *execution, bool start, const struct err *err,
                      engine_done_fn *done, void *ctx);
struct waiter *waiter_new(struct execution *execution, struct list *list, void *ctx);
void waiter_free(struct waiter *waiter);
/* Makes one at the end of the session's queue; borrowed from the table. NULL with `err`. */
struct execution *execution_new(struct session *session, const struct execution_new *what,
                                struct err *err);

/* --- dispatch.c: from the queue to the session, and what may end it early ---------------------- */
void dispatch_session(struct session *session);
void dispatch_run(struct session *session); /* the action of the state table */
/* Puts one that has not STARTED back to the head of the queue; false when it can't be. */
bool dispatch_undo(struct execution *execution);
void dispatch_waiting(struct engine *engine);  /* a slot is free */
void dispatch_unwait(struct session *session); /* it wants no slot any more */
void execution_started(struct execution *execution);
void execution_reporting(struct execution *execution);
void execution_interrupt(struct execution *execution, enum execution_cause cause,
                         int64_t kill_after_ns);
void execution_kill(struct execution *execution, enum execution_cause cause);
void execution_abandoned(struct execution *execution); /* its last caller vanished */

/* --- result.c, report.c: the one result -------------------------------------------------------- */
/* `done` is unpacked and the caller's; its strings are made valid UTF-8 in place. */
void result_from_done(struct execution *execution, Pyexec__Internal__SessionDone *done);
void result_from_exit(struct execution *execution, const struct process *process);
void result_never_ran(struct execution *execution, enum execution_cause cause);
/* Releases what a running execution holds, appends `result`, tells who waits. */
void execution_finish(struct execution *execution, Pyexec__V1__ExecutionResult *result);
void execution_finish_background(struct execution *execution, Pyexec__V1__ExecutionResult *result);
/* Makes a report fit: valid UTF-8, bounded counts, one message of the stream. */
void report_clean(Pyexec__Internal__SessionDone *done);
/* True when something had to be left out. */
bool report_fit(Pyexec__V1__ExecutionResult *result);
bool report_clean_display(Pyexec__V1__DisplayData *display);
void report_clean_text(char *text);

/* --- session.c, manager.c ---------------------------------------------------------------------- */
/* A unary call that is answered when the session's process is there, or the session is gone. */
struct call {
    struct list node;
    engine_done_fn *done;
    void *ctx;
    int64_t began_ns;
    bool restart;
};

struct session {
    struct engine *engine;
    char id[ID_SESSION_MAX + 1];
    struct list node; /* engine.session_list, oldest first */
    uint64_t ordinal;
    unsigned refs; /* 1, and one a job on the thread pool */
    char *principal;
    enum session_state state;
    struct process *process;
    Pyexec__V1__CreateSessionRequest *create; /* what it was made from: labels, env, limits */
    bool throw_away;
    bool announced; /* somebody knows its id */
    char parent_id[ID_SESSION_MAX + 1];
    struct workdir *workdir; /* NULL before it is made, and once given back */
    uint32_t generation;
    uint64_t execution_count;
    uint64_t runs; /* of the present process */
    int64_t create_real_ns;
    int64_t used_real_ns;
    int64_t used_ns;
    int64_t idle_ns;
    int64_t deadline_ns; /* of max_lifetime: CLOCK_NEVER without */
    int64_t renewed_ns;  /* RenewSession: not idle before this */
    struct timer idle;
    struct list queue; /* struct execution.queue_node, in order; the first may be running */
    unsigned queue_len;
    struct execution *running; /* first of the queue once its RUN is out */
    bool wants_slot;
    struct list slot_node; /* engine.waiting */
    struct execution *background;
    struct list starting; /* struct call: for the process */
    struct list closing;  /* struct call: for the end */
    struct err start_err;
    bool expired;
    uint64_t cpu_user_ns; /* of processes that are gone, and the last report of this one */
    uint64_t cpu_system_ns;
    uint64_t max_rss_bytes;
    struct execution *first; /* of a throw-away session that has no process yet: a reference */
    bool branched;           /* its process is another session's fork */
    struct branch *branch;   /* the fork that it is part of, as parent or child */
};

/* What is left of a session: why it ended. */
struct tombstone {
    struct list node;
    char id[ID_SESSION_MAX + 1];
    bool expired;
    int64_t until_ns;
};

/* A request_id, what was asked under it, and what came of it. */
struct request_memory {
    struct list node;
    char *key;
    char *value; /* a session id, or several with spaces between */
    uint64_t hash[2];
    int64_t until_ns;
};

/* Makes a session, without a process yet. Its directory is `shared` (a reference is added), or
 * where that is NULL the one that `create` asks for. 0 or -1. */
int session_new(struct engine *engine, const char *principal,
                const Pyexec__V1__CreateSessionRequest *create, bool throw_away,
                struct workdir *shared, struct session **ret_session, struct err *err);
void session_spawn(struct session *session); /* a spare, else a fresh fork */
void session_restart(struct session *session);
void session_event(struct session *session, enum session_event event);
/* The two things that a process reports to its session. */
void session_process_ready(struct session *session);
void session_process_ended(struct session *session, const struct err *err);
void session_use(struct session *session); /* it is not idle now */
void session_delete(struct session *session, enum execution_cause cause);
void session_unref(struct session *session);
bool session_busy(const struct session *session);
int session_init_process(struct session *session, bool branch);
/* The session that a request names and its caller may use. */
struct session *session_find(struct engine *engine, const struct engine_caller *caller,
                             const char *session_id, struct err *err);
/* -1 when it belongs to somebody else. */
int owner_check_name(const char *caller, const char *principal);
int owner_check(const struct engine_caller *caller, const char *principal, struct err *err);
void manager_bury(struct engine *engine, const struct session *session);
void manager_expire(struct engine *engine);
void manager_release(struct engine *engine);
struct request_memory *request_recall(struct engine *engine, const char *method, const char *id);
int request_remember(struct engine *engine, const char *method, const char *id,
                     const uint64_t hash[2], const char *value);
void request_forget(struct engine *engine, struct request_memory *memory);
bool session_has_labels(const struct session *session,
                        Pyexec__V1__ListSessionsRequest__LabelsEntry **labels, size_t n);

/* --- branch.c: ForkSession --------------------------------------------------------------------- */
void branch_send(struct session *session); /* the action of the state table */
/* BRANCH_HELD, BRANCHED, BRANCH_TAKEN: what the reaper, the parent, the reaper answered. */
void branch_held(struct engine *engine, uint64_t token, int sys_errno);
void branch_answered(struct process *process, const uint8_t *data, size_t size);
void branch_taken(struct engine *engine, uint64_t token, int sys_errno);
/* The parent's process is gone; harmless for other sessions. */
void branch_over(struct session *session);
/* A child's process is there (err NULL) or will never be; harmless for other sessions. */
void branch_ready(struct session *session, const struct err *err);
/* The parent's reaper died; its reaper is the launcher now, to which ADOPT is about to be sent
 * (`named` false) or was sent: repeats what the dead one may not have done. */
void branch_adopted(struct session *session, bool named);

/* --- spare.c ----------------------------------------------------------------------------------- */
struct process *spare_take(struct engine *engine); /* NULL: none is ready */
void spares_refill(struct engine *engine);
void spare_ready(struct process *process);
void spare_ended(struct process *process);
void spares_release(struct engine *engine);

/* --- workdir.c --------------------------------------------------------------------------------- */
struct workdir {
    unsigned refs; /* branches may share it */
    char *path;    /* absolute */
    char *name;    /* below the engine's work directory, removed with the last session; or NULL */
    ino_t inode;   /* of a private one, to see whether it was moved away */
};
/* Makes <state_dir>/work/<name>, mode 0700. 0 or -1. */
int workdir_make(struct engine *engine, const char *name, struct workdir **ret_dir,
                 struct err *err);
/* Checks a client's choice against the work roots. 0, or -1 with PATH_OUTSIDE_ROOT and the like. */
int workdir_choose(struct engine *engine, const char *path, struct workdir **ret_dir,
                   struct err *err);
/* Gives a reference back; a private directory is removed on the thread pool, then `done` is called
 * on the loop thread (at once when there is nothing to remove). */
void workdir_sweep(struct engine *engine); /* removes what belongs to no session */
void workdir_release(struct engine *engine, struct workdir *take_dir, void (*done)(void *ctx),
                     void *ctx);

/* --- limits.c: requests checked, before anything is done --------------------------------------- */
int limits_spec(const struct engine *engine, const Pyexec__V1__ExecutionSpec *spec,
                struct err *err);
int limits_create(const struct engine *engine, const Pyexec__V1__CreateSessionRequest *request,
                  struct err *err);
int limits_labels(const struct engine *engine, const void *entries, size_t n, struct err *err);
int limits_id(const char *field, const char *id, bool required, struct err *err);
int limits_duration(const char *field, const Google__Protobuf__Duration *d, int64_t *ret_ns,
                    struct err *err);
int limits_page(int32_t page_size, const char *token, unsigned *ret_size, uint64_t *ret_before,
                struct err *err);
/* The rule of api.md: what is asked for or the default, capped. */
int64_t limits_timeout(const struct engine_limits *limits, int64_t asked_ns, int64_t session_max_ns,
                       int64_t reattach_ns, int64_t deadline_left_ns);

/* --- messages.c: responses from objects -------------------------------------------------------- */
struct message_session {
    Pyexec__V1__Session m;
    Google__Protobuf__Timestamp create;
    Google__Protobuf__Timestamp used;
    Google__Protobuf__Timestamp expire;
    Google__Protobuf__Duration idle;
    Pyexec__V1__ResourceUsage usage;
    Google__Protobuf__Duration cpu_user;
    Google__Protobuf__Duration cpu_system;
};
void message_session(const struct session *session, struct message_session *ret);
struct message_execution {
    Pyexec__V1__Execution m;
    Google__Protobuf__Timestamp create;
    Google__Protobuf__Timestamp start;
    Google__Protobuf__Timestamp end;
    Google__Protobuf__Timestamp until;
};
/* With the result when it is finished: message_execution_release frees that. */
void message_execution(struct execution *execution, struct message_execution *ret);
void message_execution_release(struct message_execution *message);
void message_timestamp(Google__Protobuf__Timestamp *t, int64_t real_ns);
void message_duration(Google__Protobuf__Duration *d, int64_t ns);
/* A deep copy, or NULL. */
ProtobufCMessage *message_clone(const ProtobufCMessage *message);

/* --- watch.c ----------------------------------------------------------------------------------- */
void watch_changed(const struct session *session);
void watch_deleted(const struct session *session);

/* --- stats.c ----------------------------------------------------------------------------------- */
#define HISTOGRAM_BUCKETS 120
struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BUCKETS];
    _Atomic uint64_t count;
    _Atomic uint64_t sum;
    _Atomic uint64_t min;
    _Atomic uint64_t max;
};
struct stats {
    _Atomic uint64_t counters[ENGINE_COUNT_COUNT];
    struct histogram histograms[ENGINE_HIST_COUNT];
    int64_t since_real_ns;
};
void stats_init(struct stats *stats);

/* --- engine.c ---------------------------------------------------------------------------------- */
struct callback {
    void (*fn)(void *ctx, const struct err *err);
    void *ctx;
};

struct engine {
    uv_loop_t *loop;
    struct engine_limits limits;
    char *node_id;
    char *boot_id;
    char *state_dir;
    int work_fd; /* <state_dir>/work */
    char *zygote_path;
    char *python;
    char **preload;
    char **work_roots;
    char *profile;
    char *log_level;
    char *server_version;
    bool require_confinement;
    int64_t start_real_ns;

    uv_async_t wake;
    pthread_mutex_t post_lock;
    struct list posted;
    struct timers timers;
    unsigned open_handles; /* of the engine itself, for closing */
    struct spool *spool;

    struct zygotes zygotes;
    uint64_t serials;
    struct strmap processes_by_serial; /* all that live */
    struct strmap processes_by_pid;
    unsigned process_count; /* structs not freed yet */
    struct list spares;     /* ready ones */
    unsigned spare_count;   /* with those on their way */
    unsigned spare_failures;
    struct timer spare_retry;

    struct strmap workdirs; /* private ones in use, by name */
    struct strmap sessions;
    struct list session_list;
    unsigned session_count;
    uint64_t ordinals;
    struct strmap tombstones;
    struct list tombstone_list; /* oldest first */
    unsigned tombstone_count;
    struct strmap requests;
    struct list request_list;
    unsigned request_count;

    struct strmap executions; /* "session/execution", and "/execution" of throw-away ones */
    struct list all_executions;
    struct list finished; /* oldest first */
    unsigned finished_count;
    struct list waiting; /* struct session.slot_node */
    unsigned waiting_count;
    unsigned running_count;
    unsigned queued_count; /* accepted, not dispatched */
    unsigned unfinished_count;
    struct timer expiry;  /* of what is retained and remembered */
    struct list branches; /* struct branch: ForkSessions in progress */

    struct list watches;
    unsigned jobs;      /* on the thread pool */
    unsigned file_jobs; /* those of FileService among them */
    struct stats stats;

    struct callback ready;
    bool ready_known; /* the outcome, before anybody asked */
    struct err ready_err;
    struct callback fatal;
    bool failed;
    struct err fatal_err;
    bool draining;
    bool drain_over;
    struct timer drain_timer;
    void (*drained)(void *ctx);
    void *drained_ctx;
    bool closing;
    bool swept;
    bool closed_all;
    struct engine_task check;
    bool check_posted;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

void engine_report_ready(struct engine *engine, const struct err *err);
void engine_report_fatal(struct engine *engine, const struct err *err);
/* Something went: is draining or closing complete? */
void engine_check(struct engine *engine);
void engine_expire_at(struct engine *engine, int64_t at);
int hash_message(const ProtobufCMessage *message, uint64_t ret_hash[2]);

#endif
