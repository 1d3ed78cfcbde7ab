/* Socket files: whose they are, when they are taken over, what is left behind; and the limits of accepting. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/rpc/listen.h"
#include "tests/support/check.h"

static char dir[] = "/tmp/rpc-listen-XXXXXX";
static char path[64];
static char address[80];

static int bind_set(struct listeners *set, const char *const *addresses, uint32_t max,
                    struct buf *names, struct err *err)
{
    memset(set, 0, sizeof *set);
    buf_init(names, 4096);
    return listeners_bind(set, addresses, max, names, err);
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0;
}

static bool lock_exists(void)
{
    char lock[80];
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    return exists(lock);
}

static void refused(const char *because)
{
    struct listeners set;
    struct buf names;
    struct err err = {0};
    CHECK_EQ_INT(bind_set(&set, (const char *const[]){address, NULL}, 4, &names, &err), -1);
    CHECK(strstr(err.text, because) != NULL);
    buf_release(&names);
}

static void test_a_living_socket_is_not_taken(void)
{
    struct listeners set;
    struct buf names;
    struct err err = {0};
    struct stat st;
    CHECK_EQ_INT(bind_set(&set, (const char *const[]){address, NULL}, 4, &names, &err), 0);
    CHECK_EQ_INT(lstat(path, &st), 0);
    CHECK_EQ_INT(st.st_mode & 0777, 0600);
    refused("another pyexecd does");
    CHECK(exists(path) && lock_exists());
    listeners_release(&set);
    CHECK(!exists(path) && !lock_exists());
    buf_release(&names);
}

static void test_a_stale_socket_is_removed(void)
{
    struct listeners set;
    struct buf names;
    struct err err = {0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    CHECK_EQ_INT(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    CHECK_EQ_INT(listen(fd, 1), 0);
    refused("another program does");
    CHECK(exists(path) && !lock_exists());
    (void)close(fd);
    CHECK_EQ_INT(bind_set(&set, (const char *const[]){address, NULL}, 4, &names, &err), 0);
    listeners_release(&set);
    CHECK(!exists(path));
    buf_release(&names);
}

static void test_other_files_are_left_alone(void)
{
    struct listeners set;
    struct buf names;
    struct err err = {0};
    (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    refused("isn't a socket");
    CHECK(exists(path));
    (void)unlink(path);
    /* A file that took the socket's place while it was served isn't removed at the end. */
    CHECK_EQ_INT(bind_set(&set, (const char *const[]){address, NULL}, 4, &names, &err), 0);
    (void)unlink(path);
    (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    listeners_release(&set);
    CHECK(exists(path));
    (void)unlink(path);
    buf_release(&names);
}

static void test_names_have_real_ports(void)
{
    struct listeners set;
    struct buf names;
    struct err err = {0};
    unsigned port4 = 0;
    unsigned port6 = 0;
    CHECK_EQ_INT(
        bind_set(&set, (const char *const[]){"127.0.0.1:0", "[::1]:0", NULL}, 4, &names, &err), 0);
    CHECK_EQ_INT(buf_append(&names, "", 1), 0);
    CHECK_EQ_INT(sscanf((const char *)names.data, "127.0.0.1:%u [::1]:%u", &port4, &port6), 2);
    CHECK(port4 > 0 && port6 > 0);
    listeners_release(&set);
    buf_release(&names);
}

/* All or nothing: the first address is free again when a later one can't be had. */
static void test_failure_leaves_nothing(void)
{
    struct listeners set;
    struct buf names;
    struct err err = {0};
    CHECK_EQ_INT(bind_set(&set, (const char *const[]){address, address, NULL}, 4, &names, &err),
                 -1);
    CHECK(!exists(path) && !lock_exists());
    buf_release(&names);
    const char *many[LISTENERS_MAX + 2] = {NULL};
    for (int i = 0; i < LISTENERS_MAX + 1; i++) {
        many[i] = "127.0.0.1:0";
    }
    CHECK_EQ_INT(bind_set(&set, many, 4, &names, &err), -1);
    CHECK(strstr(err.text, "at most 64") != NULL);
    buf_release(&names);
    many[LISTENERS_MAX] = NULL;
    buf_init(&names, 4096);
    CHECK_EQ_INT(bind_set(&set, many, 4, &names, &err), 0);
    listeners_release(&set);
    buf_release(&names);
}

/* --- accepting ---------------------------------------------------------------------------------------- */

struct run {
    struct listeners set;
    uv_loop_t loop;
    int taken[64];
    unsigned n;
    bool closed;
};

static void on_accepted(void *ctx, int take_fd)
{
    struct run *r = ctx;
    r->taken[r->n++] = take_fd;
}

static void on_closed(void *ctx)
{
    ((struct run *)ctx)->closed = true;
}

static int connect_to(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    CHECK_EQ_INT(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

/* Whether the other side closed the connection. */
static bool is_refused(int fd)
{
    char c;
    return recv(fd, &c, 1, 0) == 0;
}

static void start(struct run *r, uint32_t max)
{
    struct buf names;
    struct err err = {0};
    memset(r, 0, sizeof *r);
    CHECK_EQ_INT(bind_set(&r->set, (const char *const[]){address, NULL}, max, &names, &err), 0);
    buf_release(&names);
    (void)uv_loop_init(&r->loop);
    CHECK_EQ_INT(listeners_start(&r->set, &r->loop, on_accepted, r, &err), 0);
}

static void stop(struct run *r)
{
    listeners_close(&r->set, on_closed);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    CHECK(r->closed);
    CHECK_EQ_INT(uv_loop_close(&r->loop), 0);
    CHECK(!exists(path) && !lock_exists());
}

static void test_connection_limit(void)
{
    struct run r;
    int clients[4];
    start(&r, 2);
    for (int i = 0; i < 3; i++) {
        clients[i] = connect_to();
        (void)uv_run(&r.loop, UV_RUN_ONCE);
    }
    CHECK_EQ_INT(r.n, 2);
    CHECK(is_refused(clients[2]));
    (void)close(r.taken[0]); /* the owner is done with it, and doesn't tell */
    r.set.swept_ns = 0;
    clients[3] = connect_to();
    (void)uv_run(&r.loop, UV_RUN_ONCE);
    CHECK_EQ_INT(r.n, 3);
    (void)close(r.taken[1]);
    (void)close(r.taken[2]);
    for (int i = 0; i < 4; i++) {
        (void)close(clients[i]);
    }
    stop(&r);
}

static void test_no_descriptors_left(void)
{
    struct run r;
    struct rlimit old;
    int client;
    start(&r, 2);
    client = connect_to();
    (void)getrlimit(RLIMIT_NOFILE, &old);
    /* The next descriptor that would be opened is one too many. */
    int next = dup(0);
    (void)close(next);
    (void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, old.rlim_max});
    (void)uv_run(&r.loop, UV_RUN_ONCE);
    CHECK_EQ_INT(r.n, 0);
    CHECK(is_refused(client));
    CHECK(r.set.reserve_fd >= 0);
    (void)setrlimit(RLIMIT_NOFILE, &old);
    (void)close(client);
    client = connect_to();
    (void)uv_run(&r.loop, UV_RUN_ONCE);
    CHECK_EQ_INT(r.n, 1);
    (void)close(client);
    (void)close(r.taken[0]);
    stop(&r);
}

int main(void)
{
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    (void)snprintf(path, sizeof path, "%s/s", dir);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    RUN(test_a_living_socket_is_not_taken);
    RUN(test_a_stale_socket_is_removed);
    RUN(test_other_files_are_left_alone);
    RUN(test_names_have_real_ports);
    RUN(test_failure_leaves_nothing);
    RUN(test_connection_limit);
    RUN(test_no_descriptors_left);
    CHECK(rmdir(dir) == 0);
    return check_done();
}
