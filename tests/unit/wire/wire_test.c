/* Frames: whole, in pieces, with descriptors, at every bound and one beyond. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/wire/wire.h"
#include "tests/support/check.h"

#define SMALL_MAX 4096

struct pair {
    int fd[2];
    struct wire_reader reader;
};

static void pair_init(struct pair *p, uint32_t max, unsigned fds)
{
    CHECK_EQ_INT(fd_socketpair(p->fd), 0);
    wire_reader_init(&p->reader, p->fd[1], max, fds);
}

static void pair_release(struct pair *p)
{
    wire_reader_release(&p->reader);
    fd_close(&p->fd[0]);
    fd_close(&p->fd[1]);
}

static void test_frames_come_back_in_order(void)
{
    struct pair p;
    pair_init(&p, SMALL_MAX, 0);
    CHECK_EQ_INT(wire_send(p.fd[0], 1, "abc", 3, NULL, 0), 0);
    CHECK_EQ_INT(wire_send(p.fd[0], 2, NULL, 0, NULL, 0), 0);
    struct wire_frame f;
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 1);
    CHECK(f.type == 1 && f.length == 3 && memcmp(f.payload, "abc", 3) == 0);
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 1);
    CHECK(f.type == 2 && f.length == 0);
    fd_close(&p.fd[0]);
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 0);
    pair_release(&p);
}

static void test_payload_maximum_and_one_more(void)
{
    struct pair p;
    char block[SMALL_MAX + 1] = {0};
    struct wire_frame f;
    pair_init(&p, SMALL_MAX, 0);
    CHECK_EQ_INT(wire_send(p.fd[0], 1, block, SMALL_MAX, NULL, 0), 0);
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 1);
    CHECK_EQ_INT(f.length, SMALL_MAX);
    CHECK_EQ_INT(wire_send(p.fd[0], 1, block, SMALL_MAX + 1, NULL, 0), 0);
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), -EPROTO);
    pair_release(&p);
}

static void test_a_byte_at_a_time(void)
{
    struct pair p;
    pair_init(&p, SMALL_MAX, 0);
    const unsigned char frame[] = {2, 0, 0, 0, 7, 0, 0, 0, 'h', 'i'};
    struct wire_frame f;
    for (size_t i = 0; i < sizeof frame; i++) {
        CHECK_EQ_INT(wire_reader_next(&p.reader, &f), 0);
        CHECK_EQ_INT(write(p.fd[0], frame + i, 1), 1);
        CHECK_EQ_INT(wire_reader_fill(&p.reader), 1);
    }
    CHECK_EQ_INT(wire_reader_next(&p.reader, &f), 1);
    CHECK(f.type == 7 && memcmp(f.payload, "hi", 2) == 0);
    pair_release(&p);
}

static ino_t inode(int fd)
{
    struct stat st = {0};
    (void)fstat(fd, &st);
    return st.st_ino;
}

static void test_descriptors_stay_with_their_frame(void)
{
    struct pair p;
    int a[2];
    int b[2];
    pair_init(&p, SMALL_MAX, WIRE_FDS_MAX);
    CHECK_EQ_INT(fd_pipe(a), 0);
    CHECK_EQ_INT(fd_pipe(b), 0);
    CHECK_EQ_INT(wire_send(p.fd[0], 1, "one", 3, a, 2), 0);
    CHECK_EQ_INT(wire_send(p.fd[0], 2, "none", 4, NULL, 0), 0);
    CHECK_EQ_INT(wire_send(p.fd[0], 3, "two", 3, b, 1), 0);
    struct wire_frame f;
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 1);
    CHECK(f.type == 1 && f.fd_count == 2 && inode(f.fds[0]) == inode(a[0]));
    CHECK((fcntl(f.fds[1], F_GETFD) & FD_CLOEXEC) != 0);
    wire_frame_close_fds(&f);
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 1);
    CHECK(f.type == 2 && f.fd_count == 0);
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), 1);
    CHECK(f.type == 3 && f.fd_count == 1 && inode(f.fds[0]) == inode(b[0]));
    wire_frame_close_fds(&f);
    for (int i = 0; i < 2; i++) {
        fd_close(&a[i]);
        fd_close(&b[i]);
    }
    pair_release(&p);
}

static void test_unwanted_descriptors_are_not_received(void)
{
    struct pair p;
    int a[2];
    pair_init(&p, SMALL_MAX, 0);
    CHECK_EQ_INT(fd_pipe(a), 0);
    int before = fd_count_open();
    CHECK_EQ_INT(wire_send(p.fd[0], 1, "x", 1, a, 2), 0);
    struct wire_frame f;
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), -EPROTO);
    CHECK_EQ_INT(fd_count_open(), before);
    fd_close(&a[0]);
    fd_close(&a[1]);
    pair_release(&p);
}

static void test_missing_descriptors_break_the_protocol(void)
{
    struct pair p;
    pair_init(&p, SMALL_MAX, WIRE_FDS_MAX);
    const unsigned char frame[] = {0, 0, 0, 0, 7, 0, 1, 0};
    CHECK_EQ_INT(write(p.fd[0], frame, sizeof frame), sizeof frame);
    struct wire_frame f;
    CHECK_EQ_INT(wire_reader_wait(&p.reader, &f), -EPROTO);
    pair_release(&p);
}

/* A writer that never blocks, a reader that is slow: every frame and descriptor arrives. */
static void test_queued_frames_keep_their_descriptors(void)
{
    struct pair p;
    struct wire_writer w;
    int a[2];
    enum { FRAMES = 200, SIZE = 20000 };
    static char block[SIZE];
    pair_init(&p, SIZE, WIRE_FDS_MAX);
    CHECK_EQ_INT(fd_pipe(a), 0);
    CHECK_EQ_INT(fd_set_nonblock(p.fd[0], true), 0);
    wire_writer_init(&w, p.fd[0]);
    int queued = 0;
    for (int i = 0; i < FRAMES; i++) {
        memset(block, i, sizeof block);
        int r = wire_writer_send(&w, (uint16_t)i, block, sizeof block, a, (size_t)(i % 3));
        CHECK(r == 0 || r == 1);
        queued += r;
    }
    CHECK(queued > 0);
    for (int i = 0; i < FRAMES; i++) {
        struct wire_frame f;
        int r;
        while ((r = wire_reader_next(&p.reader, &f)) == 0) {
            CHECK(wire_reader_fill(&p.reader) > 0);
            CHECK(wire_writer_flush(&w) >= 0);
        }
        CHECK_EQ_INT(r, 1);
        CHECK(f.type == i && f.length == SIZE && f.fd_count == i % 3);
        CHECK(f.payload[0] == (uint8_t)i && f.payload[SIZE - 1] == (uint8_t)i);
        wire_frame_close_fds(&f);
    }
    CHECK_EQ_INT(wire_writer_flush(&w), 0);
    fd_close(&a[0]);
    fd_close(&a[1]);
    wire_writer_release(&w);
    pair_release(&p);
}

static void test_queue_maximum_and_one_more(void)
{
    struct pair p;
    struct wire_writer w;
    pair_init(&p, SMALL_MAX, 0);
    CHECK_EQ_INT(fd_set_nonblock(p.fd[0], true), 0);
    wire_writer_init(&w, p.fd[0]);
    size_t size = 8u << 20;
    char *block = calloc(1, size);
    int r = 0;
    int sent = 0;
    while ((r = wire_writer_send(&w, 1, block, size, NULL, 0)) >= 0 && sent < 100) {
        sent++;
    }
    CHECK_EQ_INT(r, -ENOBUFS);
    CHECK(w.out.len <= WIRE_OUT_QUEUE_MAX);
    CHECK(sent >= 7);
    free(block);
    wire_writer_release(&w);
    pair_release(&p);
}

static void test_a_gone_peer_is_an_error_not_a_signal(void)
{
    struct pair p;
    struct wire_writer w;
    pair_init(&p, SMALL_MAX, 0);
    fd_close(&p.fd[1]);
    CHECK_EQ_INT(wire_send(p.fd[0], 1, "x", 1, NULL, 0), -EPIPE);
    CHECK_EQ_INT(fd_set_nonblock(p.fd[0], true), 0);
    wire_writer_init(&w, p.fd[0]);
    CHECK_EQ_INT(wire_writer_send(&w, 1, "x", 1, NULL, 0), -EPIPE);
    wire_writer_release(&w);
    pair_release(&p);
}

static void test_too_many_descriptors_are_refused_at_once(void)
{
    int fds[WIRE_FDS_MAX + 1] = {0};
    CHECK_EQ_INT(wire_send(0, 1, NULL, 0, fds, WIRE_FDS_MAX + 1), -EMSGSIZE);
}

int main(void)
{
    RUN(test_frames_come_back_in_order);
    RUN(test_payload_maximum_and_one_more);
    RUN(test_a_byte_at_a_time);
    RUN(test_descriptors_stay_with_their_frame);
    RUN(test_unwanted_descriptors_are_not_received);
    RUN(test_missing_descriptors_break_the_protocol);
    RUN(test_queued_frames_keep_their_descriptors);
    RUN(test_queue_maximum_and_one_more);
    RUN(test_a_gone_peer_is_an_error_not_a_signal);
    RUN(test_too_many_descriptors_are_refused_at_once);
    return check_done();
}
