/* file_calls.c: the methods of FileService: each one job of files.c on the thread pool.
 *
 * A job holds the directory by descriptor and a copy of the request, nothing of the session: that
 * may end meanwhile, and the call then ends with what it found. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "service/session/files.h"
#include "service/session/internal.h"

#define JOBS_MAX 256 /* on the thread pool at once; further calls are told to come again */

struct file_job;
typedef int file_work(struct file_job *job);

struct file_job {
    uv_work_t work;
    struct engine *engine;
    file_work *run;
    int root;
    ProtobufCMessage *request;
    ProtobufCMessage *response;
    int result;
    struct err err;
    engine_done_fn *done;
    engine_file_fn *opened; /* instead of done: ReadFile */
    void *ctx;
    struct engine_file file;
};

static void job_free(struct file_job *j)
{
    fd_close(&j->root);
    fd_close(&j->file.fd);
    if (j->request != NULL) {
        protobuf_c_message_free_unpacked(j->request, NULL);
    }
    if (j->response != NULL) {
        protobuf_c_message_free_unpacked(j->response, NULL);
    }
    if (j->file.info != NULL) {
        pyexec__v1__file_info__free_unpacked(j->file.info, NULL);
    }
    free(j);
}

static void job_answer(struct file_job *j)
{
    const struct err *err = j->result < 0 ? &j->err : NULL;
    if (j->opened != NULL) {
        j->opened(j->ctx, &j->file, err);
    } else if (j->done != NULL) {
        j->done(j->ctx, err == NULL ? j->response : NULL, err);
    }
}

static void job_work(uv_work_t *work)
{
    struct file_job *j = work->data;
    j->result = j->run(j);
}

static void job_done(uv_work_t *work, int status)
{
    struct file_job *j = work->data;
    struct engine *e = j->engine;
    if (status < 0) {
        j->result = err_set(&j->err, ERR_INTERNAL, "the file operation was cancelled");
    }
    job_answer(j);
    job_free(j);
    e->jobs--;
    e->file_jobs--;
    engine_check(e);
}

/* Opens the session's directory, or says why not. */
static int open_root(struct engine *e, const struct engine_caller *caller, const char *session_id,
                     int *ret_root, struct err *err)
{
    struct session *s = session_find(e, caller, session_id, err);
    if (s == NULL) {
        return -1;
    }
    if (s->workdir == NULL) {
        return err_set(err, ERR_FILE_NOT_FOUND, "the session has no working directory any more");
    }
    if (e->file_jobs >= JOBS_MAX) {
        return err_set(err, ERR_NODE_AT_CAPACITY, "too many file operations at once: try again");
    }
    session_use(s);
    int fd = open(s->workdir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        bool gone = errno == ENOENT || errno == ENOTDIR;
        return err_sys(err, gone ? ERR_FILE_NOT_FOUND : ERR_FILE_DENIED, errno, "open",
                       "the session's working directory can't be opened: %s", strerror(errno));
    }
    *ret_root = fd;
    return 0;
}

static void start(struct engine *e, const struct engine_caller *caller, const char *session_id,
                  const ProtobufCMessage *request, file_work *run, engine_done_fn *done,
                  engine_file_fn *opened, void *ctx)
{
    struct err err = {0};
    struct file_job failed = {
        .result = -1, .done = done, .opened = opened, .ctx = ctx, .file.fd = -1};
    struct file_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        (void)err_set(&failed.err, ERR_NO_MEMORY, "out of memory");
        job_answer(&failed);
        return;
    }
    *j = failed;
    j->root = -1;
    j->engine = e;
    j->run = run;
    j->work.data = j;
    j->request = message_clone(request);
    if (j->request == NULL) {
        (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
    } else if (open_root(e, caller, session_id, &j->root, &err) == 0) {
        if (uv_queue_work(e->loop, &j->work, job_work, job_done) == 0) {
            e->jobs++;
            e->file_jobs++;
            return;
        }
        (void)err_set(&err, ERR_INTERNAL, "the file operation can't be started");
    }
    j->err = err;
    job_answer(j);
    job_free(j);
}

/* A response whose first field is the file. Takes `file`, NULL when it was not made. */
static int give(struct file_job *j, int result, const ProtobufCMessageDescriptor *type,
                Pyexec__V1__FileInfo *take_file)
{
    if (result < 0) {
        return result;
    }
    /* All of them have one layout: the message, then the pointer. */
    Pyexec__V1__StatFileResponse *m = calloc(1, sizeof *m);
    if (m == NULL) {
        pyexec__v1__file_info__free_unpacked(take_file, NULL);
        return err_set(&j->err, ERR_NO_MEMORY, "out of memory");
    }
    protobuf_c_message_init(type, m);
    m->file = take_file;
    j->response = &m->base;
    return 0;
}

_Static_assert(sizeof(Pyexec__V1__StatFileResponse) == sizeof(Pyexec__V1__WriteFileResponse) &&
                   sizeof(Pyexec__V1__StatFileResponse) ==
                       sizeof(Pyexec__V1__MakeDirectoryResponse) &&
                   sizeof(Pyexec__V1__StatFileResponse) == sizeof(Pyexec__V1__MoveFileResponse),
               "give() fills any of them");

static int run_stat(struct file_job *j)
{
    const Pyexec__V1__StatFileRequest *q = (const void *)j->request;
    Pyexec__V1__FileInfo *f = NULL;
    int r = files_stat(j->root, q->path, &f, &j->err);
    return give(j, r, &pyexec__v1__stat_file_response__descriptor, f);
}

static int run_list(struct file_job *j)
{
    Pyexec__V1__ListFilesResponse *list = NULL;
    if (files_list(j->root, (const void *)j->request, &list, &j->err) < 0) {
        return -1;
    }
    j->response = &list->base;
    return 0;
}

static int run_write(struct file_job *j)
{
    Pyexec__V1__FileInfo *f = NULL;
    int r = files_write(j->root, (const void *)j->request, &f, &j->err);
    return give(j, r, &pyexec__v1__write_file_response__descriptor, f);
}

static int run_mkdir(struct file_job *j)
{
    const Pyexec__V1__MakeDirectoryRequest *q = (const void *)j->request;
    Pyexec__V1__FileInfo *f = NULL;
    int r = files_mkdir(j->root, q->path, &f, &j->err);
    return give(j, r, &pyexec__v1__make_directory_response__descriptor, f);
}

static int run_move(struct file_job *j)
{
    const Pyexec__V1__MoveFileRequest *q = (const void *)j->request;
    Pyexec__V1__FileInfo *f = NULL;
    int r = files_move(j->root, q->source_path, q->destination_path, &f, &j->err);
    return give(j, r, &pyexec__v1__move_file_response__descriptor, f);
}

static int run_delete(struct file_job *j)
{
    const Pyexec__V1__DeleteFileRequest *q = (const void *)j->request;
    if (files_delete(j->root, q->path, q->recursive, &j->err) < 0) {
        return -1;
    }
    Pyexec__V1__DeleteFileResponse *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return err_set(&j->err, ERR_NO_MEMORY, "out of memory");
    }
    pyexec__v1__delete_file_response__init(m);
    j->response = &m->base;
    return 0;
}

static int run_open(struct file_job *j)
{
    const Pyexec__V1__ReadFileRequest *q = (const void *)j->request;
    if (files_open_read(j->root, q->path, &j->file.fd, &j->file.info, &j->err) < 0) {
        return -1;
    }
    uint64_t size = j->file.info->size_bytes;
    uint64_t left = q->offset < size ? size - q->offset : 0;
    j->file.offset = q->offset;
    j->file.end = q->offset + (q->limit != 0 && q->limit < left ? q->limit : left);
    return 0;
}

#define FILE_UNARY(name, Request, run)                                                  \
    void engine_##name(struct engine *e, const struct engine_caller *caller,            \
                       const Pyexec__V1__##Request *q, engine_done_fn *done, void *ctx) \
    {                                                                                   \
        start(e, caller, q->session_id, &q->base, run, done, NULL, ctx);                \
    }

FILE_UNARY(stat_file, StatFileRequest, run_stat)
FILE_UNARY(list_files, ListFilesRequest, run_list)
FILE_UNARY(write_file, WriteFileRequest, run_write)
FILE_UNARY(make_directory, MakeDirectoryRequest, run_mkdir)
FILE_UNARY(move_file, MoveFileRequest, run_move)
FILE_UNARY(delete_file, DeleteFileRequest, run_delete)

void engine_open_file(struct engine *e, const struct engine_caller *caller,
                      const Pyexec__V1__ReadFileRequest *q, engine_file_fn *opened, void *ctx)
{
    start(e, caller, q->session_id, &q->base, run_open, NULL, opened, ctx);
}
