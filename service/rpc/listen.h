/* listen.h: listening sockets and the accept loop. Loop thread.
 *
 * gRPC's own listener dies for ever when the process runs out of descriptors, takes a living
 * daemon's socket file, and doesn't say who connects; so connections are accepted here and handed over. */
#ifndef PYEXEC_RPC_LISTEN_H
#define PYEXEC_RPC_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "service/base/buf.h"
#include "service/base/err.h"
#include "service/rpc/address.h"

#define LISTENERS_MAX 64

struct listeners;

struct listener {
    uv_poll_t poll;
    struct listeners *set;
    struct address address; /* with the real port */
    int fd;
    /* Unix sockets with a file. The lock on PATH.lock is held while this daemon lives: without it
     * a stale socket could not be told from a living one for sure. */
    int lock_fd;
    dev_t dev;
    ino_t ino;
};

/* What was accepted and given away. The new owner closes the descriptor without telling, so the inode says
 * whether it is still that connection. */
struct connection {
    int fd;
    ino_t ino;
};

struct listeners {
    struct listener items[LISTENERS_MAX];
    unsigned n;
    unsigned open_handles;
    int reserve_fd; /* closed to accept, and refuse, a connection when no descriptor is left */
    bool paused;    /* not even that worked */
    uv_timer_t resume;
    struct connection *connections;
    uint32_t connections_len;
    uint32_t connections_max;
    int64_t swept_ns;                         /* when closed connections were last looked for */
    int64_t told_ns;                          /* when a refused connection was last logged */
    void (*accepted)(void *ctx, int take_fd); /* connected, non-blocking, close-on-exec */
    void (*closed)(void *ctx);
    void *ctx;
};

/* Binds all addresses; on failure (-1) nothing is left. Appends the real addresses to `names`. */
int listeners_bind(struct listeners *set, const char *const *addresses, uint32_t max_connections,
                   struct buf *names, struct err *err);
/* Undoes it, before listeners_start. */
void listeners_release(struct listeners *set);

/* Accepts from now on. 0 or -1. */
int listeners_start(struct listeners *set, uv_loop_t *loop,
                    void (*accepted)(void *ctx, int take_fd), void *ctx, struct err *err);
/* Stops accepting, removes the files; then `closed` is called with start's ctx. */
void listeners_close(struct listeners *set, void (*closed)(void *ctx));

#endif
