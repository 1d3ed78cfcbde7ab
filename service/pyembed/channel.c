#include "service/pyembed/channel.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/wire/wire.h"

/* The daemon is inside read() for microseconds, or, when it lost its processor there, for
 * milliseconds: giving up early costs the order of output. One that is stopped must not stop us. */
#define PAGE_WAIT_NS (200 * NS_PER_MS)
#define PAGE_SPINS 50

struct file_id {
    dev_t dev;
    ino_t ino;
};

static struct {
    /* Set by the process that owns the channel; 0 in the zygote and in forked children. */
    _Atomic int owner;
    pthread_mutex_t lock; /* frames and `last` change together */
    const struct session_page *page;
    struct file_id pipe[2]; /* user code may put other files onto 1 and 2 */
    struct file_id control;
    _Atomic uint64_t last[2]; /* fence of the last frame */
} channel = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct file_id file_id_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return (struct file_id){0, 0};
    }
    return (struct file_id){st.st_dev, st.st_ino};
}

static bool same_file(struct file_id a, struct file_id b)
{
    return a.ino != 0 && a.ino == b.ino && a.dev == b.dev;
}

/* In a child of fork(): only if 3 is still the socket; user code may have put its own file there. */
static void forget_after_fork(void)
{
    if (atomic_exchange(&channel.owner, 0) != 0 &&
        same_file(channel.control, file_id_of(SESSION_FD_CONTROL))) {
        (void)close(SESSION_FD_CONTROL);
    }
}

int channel_open(int page_fd)
{
    static bool registered;
    if (!registered) {
        int r = pthread_atfork(NULL, NULL, forget_after_fork);
        if (r != 0) {
            return -r;
        }
        registered = true;
    }
    const struct session_page *page = NULL;
    if (page_fd >= 0) {
        void *p = mmap(NULL, SESSION_PAGE_SIZE, PROT_READ, MAP_SHARED, page_fd, 0);
        if (p == MAP_FAILED) {
            return -errno;
        }
        page = p;
    }
    if (channel.page != NULL) {
        (void)munmap((void *)(uintptr_t)channel.page, SESSION_PAGE_SIZE);
    }
    channel.page = page;
    pthread_mutex_init(&channel.lock, NULL);
    channel.control = file_id_of(SESSION_FD_CONTROL);
    channel_new_pipes();
    atomic_store(&channel.owner, (int)getpid());
    return 0;
}

void channel_new_pipes(void)
{
    for (unsigned i = 0; i < 2; i++) {
        channel.pipe[i] = file_id_of((int)i + 1);
        atomic_store(&channel.last[i], 0);
    }
}

bool channel_has_pipes(void)
{
    return same_file(channel.pipe[0], file_id_of(1)) && same_file(channel.pipe[1], file_id_of(2));
}

bool channel_is_ours(void)
{
    return atomic_load_explicit(&channel.owner, memory_order_relaxed) != 0;
}

static uint64_t in_pipe(unsigned i)
{
    int n = 0;
    return ioctl((int)i + 1, FIONREAD, &n) < 0 || n < 0 ? 0 : (uint64_t)n;
}

/* Bytes written to stream `i` so far; never less than the last fence had. */
static uint64_t offset_now(unsigned i)
{
    uint64_t least = atomic_load_explicit(&channel.last[i], memory_order_relaxed);
    if (channel.page == NULL) {
        uint64_t n = in_pipe(i);
        return n > least ? n : least;
    }
    const struct session_page_stream *s = &channel.page->stream[i];
    int64_t end = 0;
    for (unsigned tries = 0;; tries++) {
        uint32_t before = atomic_load_explicit(&s->sequence, memory_order_acquire);
        if ((before & 1) == 0) {
            uint64_t n = atomic_load_explicit(&s->read_bytes, memory_order_relaxed) + in_pipe(i);
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&s->sequence, memory_order_relaxed) == before) {
                return n > least ? n : least;
            }
        }
        if (tries >= PAGE_SPINS) {
            int64_t now = clock_mono_ns();
            end = end == 0 ? now + PAGE_WAIT_NS : end;
            if (now > end) {
                return least;
            }
            (void)sched_yield();
        }
    }
}

static uint64_t checked_offset(unsigned i)
{
    if (!same_file(channel.pipe[i], file_id_of((int)i + 1))) {
        return atomic_load(&channel.last[i]);
    }
    return offset_now(i);
}

static int send_locked(enum session_frame type, const uint64_t fence[2], const void *payload,
                       size_t length)
{
    uint8_t small[512];
    size_t total = sizeof(struct session_fence) + length;
    if (total > WIRE_FROM_SESSION_MAX) {
        return -EMSGSIZE;
    }
    uint8_t *frame = total <= sizeof small ? small : malloc(total);
    if (frame == NULL) {
        return -ENOMEM;
    }
    struct session_fence f = {fence[0], fence[1]};
    memcpy(frame, &f, sizeof f);
    if (length > 0) {
        memcpy(frame + sizeof f, payload, length);
    }
    int r = wire_send(SESSION_FD_CONTROL, (uint16_t)type, frame, total, NULL, 0);
    if (frame != small) {
        free(frame);
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&channel.last[i], fence[i]);
    }
    return r;
}

void channel_fence(enum channel_user user)
{
    if (!channel_is_ours()) {
        return;
    }
    bool moved = false;
    for (unsigned i = 0; i < 2 && !moved; i++) {
        moved = i != (unsigned)user && offset_now(i) != atomic_load(&channel.last[i]);
    }
    if (!moved) {
        return;
    }
    pthread_mutex_lock(&channel.lock);
    const uint64_t fence[2] = {checked_offset(0), checked_offset(1)};
    moved = false;
    for (unsigned i = 0; i < 2; i++) {
        moved = moved || (i != (unsigned)user && fence[i] != atomic_load(&channel.last[i]));
    }
    if (moved) {
        /* A lost mark costs order only; a lost control socket shows when the run ends. */
        (void)send_locked(SESSION_FRAME_MARK, fence, NULL, 0);
    }
    pthread_mutex_unlock(&channel.lock);
}

int channel_send(enum session_frame type, const void *payload, size_t length)
{
    /* getpid: a process made by a bare clone() passed no fork handler. */
    if (!channel_is_ours() || getpid() != atomic_load(&channel.owner)) {
        return -EPIPE;
    }
    pthread_mutex_lock(&channel.lock);
    const uint64_t fence[2] = {checked_offset(0), checked_offset(1)};
    int r = send_locked(type, fence, payload, length);
    pthread_mutex_unlock(&channel.lock);
    return r;
}

int channel_send_message(enum session_frame type, const ProtobufCMessage *message)
{
    size_t n = protobuf_c_message_get_packed_size(message);
    if (n > WIRE_FROM_SESSION_MAX - sizeof(struct session_fence)) {
        return -EMSGSIZE;
    }
    uint8_t *data = malloc(n > 0 ? n : 1);
    if (data == NULL) {
        return -ENOMEM;
    }
    protobuf_c_message_pack(message, data);
    int r = channel_send(type, data, n);
    free(data);
    return r;
}

int channel_send_background(unsigned stream, const void *data, size_t length)
{
    if (length > CHANNEL_BACKGROUND_MAX) {
        return -EMSGSIZE;
    }
    uint8_t *payload = malloc(length + 1);
    if (payload == NULL) {
        return -ENOMEM;
    }
    payload[0] = (uint8_t)stream;
    memcpy(payload + 1, data, length);
    int r = channel_send(SESSION_FRAME_BACKGROUND, payload, length + 1);
    free(payload);
    return r;
}
