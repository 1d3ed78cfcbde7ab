/* spool.c: segments of one unlinked file. */
#include "service/session/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "service/base/fd.h"

struct spool {
    int fd;
    uint32_t max_segments;
    _Atomic uint64_t retained;
    pthread_mutex_t lock;
    uint32_t segments; /* that the file has room for; the ones in `free` are not in use */
    uint32_t *free;
    uint32_t free_len;
    uint32_t free_cap;
};

static int open_unlinked(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
        return fd;
    }
    char path[4096];
    if (snprintf(path, sizeof path, "%s/spool.XXXXXX", dir) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        (void)unlink(path);
    }
    return fd;
}

int spool_new(const char *dir, uint64_t max_bytes, struct spool **ret_spool, struct err *err)
{
    struct spool *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(err, ERR_NO_MEMORY, "out of memory");
    }
    s->fd = open_unlinked(dir);
    if (s->fd < 0) {
        int e = errno;
        free(s);
        return err_sys(err, ERR_INTERNAL, e, "spool", "can't make the spool file: %s", strerror(e));
    }
    uint64_t segments = max_bytes / SPOOL_SEGMENT;
    s->max_segments = segments > UINT32_MAX ? UINT32_MAX : (uint32_t)segments;
    (void)pthread_mutex_init(&s->lock, NULL);
    *ret_spool = s;
    return 0;
}

void spool_free(struct spool *s)
{
    if (s == NULL) {
        return;
    }
    assert(s->free_len == s->segments);
    fd_close(&s->fd);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->free);
    free(s);
}

/* A number for a new segment, or UINT32_MAX. Room to note its return is made here, so that
 * returning can't fail. */
static uint32_t take_index(struct spool *s)
{
    uint32_t index = UINT32_MAX;
    (void)pthread_mutex_lock(&s->lock);
    if (s->free_len > 0) {
        index = s->free[--s->free_len];
    } else if (s->segments < s->max_segments) {
        if (s->segments == s->free_cap) {
            uint32_t cap = s->free_cap ? s->free_cap * 2 : 16;
            uint32_t *p = realloc(s->free, cap * sizeof *p);
            if (p != NULL) {
                s->free = p;
                s->free_cap = cap;
            }
        }
        if (s->segments < s->free_cap) {
            index = s->segments++;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return index;
}

static void return_index(struct spool *s, uint32_t index)
{
    (void)pthread_mutex_lock(&s->lock);
    s->free[s->free_len++] = index;
    (void)pthread_mutex_unlock(&s->lock);
}

uint8_t *spool_take(struct spool *s, uint32_t *ret_index)
{
    uint32_t index = take_index(s);
    if (index == UINT32_MAX) {
        return NULL;
    }
    off_t at = (off_t)index * SPOOL_SEGMENT;
    void *p = MAP_FAILED;
    /* Reserved, because a full disk would otherwise show as SIGBUS at the first write. */
    if (fallocate(s->fd, 0, at, SPOOL_SEGMENT) == 0) {
        p = mmap(NULL, SPOOL_SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, at);
    }
    if (p == MAP_FAILED) {
        return_index(s, index);
        return NULL;
    }
    *ret_index = index;
    return p;
}

void spool_return(struct spool *s, uint8_t *segment, uint32_t index)
{
    (void)munmap(segment, SPOOL_SEGMENT);
    (void)fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)index * SPOOL_SEGMENT,
                    SPOOL_SEGMENT);
    return_index(s, index);
}

void spool_account(struct spool *s, int64_t delta)
{
    atomic_fetch_add_explicit(&s->retained, (uint64_t)delta, memory_order_relaxed);
}

uint64_t spool_retained(struct spool *s)
{
    return atomic_load_explicit(&s->retained, memory_order_relaxed);
}
