#include "clients/c/cmd/feed.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include "clients/c/cmd/cli.h"
#include "service/base/fd.h"

#define PIECE 65536
#define ID_MAX 256
#define REFUSED_PAUSE_MS 50

struct feed {
    struct pyexec_client *client;
    bool on_request;
    pthread_t thread;
    bool has_thread;
    int wake; /* eventfd: `wanted` or `stop` changed */
    pthread_mutex_t lock;
    bool wanted;
    bool password;
    bool stop;
    char session_id[ID_MAX];
    char execution_id[ID_MAX];
    uint64_t offset;
};

struct feed *feed_new(struct pyexec_client *client, bool on_request)
{
    struct feed *f = calloc(1, sizeof *f);
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f == NULL || wake < 0) {
        cli_say("can't read the standard input: %s", strerror(errno));
        fd_close(&wake);
        free(f);
        return NULL;
    }
    *f = (struct feed){
        .client = client, .on_request = on_request, .wake = wake, .wanted = !on_request};
    (void)pthread_mutex_init(&f->lock, NULL);
    return f;
}

static void poke(struct feed *f)
{
    const uint64_t one = 1;
    ssize_t n = write(f->wake, &one, sizeof one);
    (void)n; /* a full counter wakes as well */
}

static void state(struct feed *f, bool *ret_wanted, bool *ret_password, bool *ret_stop)
{
    (void)pthread_mutex_lock(&f->lock);
    *ret_wanted = f->wanted;
    *ret_password = f->password;
    *ret_stop = f->stop;
    (void)pthread_mutex_unlock(&f->lock);
}

/* Waits for a poke, and for input when `input`. True when there is input. */
static bool wait_input(struct feed *f, bool input, int ms)
{
    struct pollfd fds[] = {{.fd = f->wake, .events = POLLIN},
                           {.fd = input ? 0 : -1, .events = POLLIN}};
    uint64_t count;
    if (poll(fds, 2, ms) <= 0) {
        return false;
    }
    if (fds[0].revents != 0 && read(f->wake, &count, sizeof count) < 0) {
        return false;
    }
    return fds[1].revents != 0;
}

/* All of the piece. False when nothing more is to be sent. */
static bool send(struct feed *f, const char *data, size_t n, bool eof)
{
    bool wanted;
    bool password;
    bool stop;
    do {
        struct pyexec_error err;
        uint64_t next;
        if (pyexec_write_stdin(f->client, f->session_id, f->execution_id, f->offset, data, n, eof,
                               &next, &err) < 0) {
            /* A program that ended, or closed its input, wants no more. */
            if (err.code != PYEXEC_CODE_NOT_FOUND && err.code != PYEXEC_CODE_CANCELLED &&
                strcmp(err.reason, "STDIN_CLOSED") != 0) {
                cli_say("can't pass on the standard input: %s", err.message);
            }
            return false;
        }
        size_t taken = next > f->offset ? (size_t)(next - f->offset) : 0;
        taken = taken < n ? taken : n;
        f->offset += taken;
        data += taken;
        n -= taken;
        if (n > 0 && taken == 0) {
            /* The server's buffer is full until the program reads; nothing tells us when. */
            (void)wait_input(f, false, REFUSED_PAUSE_MS);
        }
        state(f, &wanted, &password, &stop);
    } while (n > 0 && !stop);
    return !eof && !stop;
}

/* Terminal echo; *saved is what feed_run gives back. True when it was changed. */
static bool hide_typing(struct termios *saved)
{
    if (tcgetattr(0, saved) < 0) {
        return false;
    }
    struct termios hidden = *saved;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    return tcsetattr(0, TCSADRAIN, &hidden) == 0;
}

static bool pass_piece(struct feed *f, char *piece)
{
    ssize_t n = read(0, piece, PIECE);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    if (f->on_request) {
        (void)pthread_mutex_lock(&f->lock);
        f->wanted = false;
        (void)pthread_mutex_unlock(&f->lock);
    }
    return send(f, piece, (size_t)n, n == 0);
}

static void *feed_run(void *arg)
{
    struct feed *f = arg;
    char *piece = malloc(PIECE);
    struct termios saved;
    bool hidden = false;
    bool wanted;
    bool password;
    bool stop = piece == NULL;
    bool more = true;
    while (!stop && more) {
        state(f, &wanted, &password, &stop);
        if (wanted && password && !hidden) {
            hidden = hide_typing(&saved);
        }
        if (!stop && wait_input(f, wanted, -1)) {
            more = pass_piece(f, piece);
        }
        state(f, &wanted, &password, &stop);
        if (hidden && (!wanted || stop || !more)) {
            (void)tcsetattr(0, TCSADRAIN, &saved);
            hidden = false;
        }
    }
    free(piece);
    return NULL;
}

void feed_started(struct feed *f, const char *session_id, const char *execution_id)
{
    if (f->has_thread) {
        return;
    }
    (void)snprintf(f->session_id, sizeof f->session_id, "%s", session_id);
    (void)snprintf(f->execution_id, sizeof f->execution_id, "%s", execution_id);
    int error = pthread_create(&f->thread, NULL, feed_run, f);
    if (error != 0) {
        cli_say("can't read the standard input: %s", strerror(error));
        return;
    }
    f->has_thread = true;
}

void feed_request(struct feed *f, bool password)
{
    (void)pthread_mutex_lock(&f->lock);
    f->wanted = true;
    f->password = password;
    (void)pthread_mutex_unlock(&f->lock);
    poke(f);
}

void feed_free(struct feed *f)
{
    if (f == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&f->lock);
    f->stop = true;
    (void)pthread_mutex_unlock(&f->lock);
    poke(f);
    if (f->has_thread) {
        (void)pthread_join(f->thread, NULL);
    }
    fd_close(&f->wake);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}
