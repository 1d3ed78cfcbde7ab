/* Every part of service/base, each bound at its maximum and one beyond. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/base/buf.h"
#include "service/base/clock.h"
#include "service/base/err.h"
#include "service/base/fd.h"
#include "service/base/id.h"
#include "service/base/list.h"
#include "service/base/log.h"
#include "service/base/strmap.h"
#include "service/base/utf8.h"
#include "tests/support/check.h"

static void test_err_facts_are_total(void)
{
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        CHECK(err_grpc_status((enum err_code)code) > 0);
        CHECK(err_grpc_status((enum err_code)code) <= 16);
        CHECK(err_reason((enum err_code)code)[0] != '\0');
    }
    CHECK_STR(err_reason((enum err_code)9999), "INTERNAL");
}

static void test_err_text_is_cut_at_a_character(void)
{
    struct err err;
    char text[600] = "";
    for (int i = 0; i < 199; i++) {
        memcpy(text + (size_t)i * 3, "\xE2\x82\xAC", 4);
    }
    CHECK_EQ_INT(err_set(&err, ERR_INTERNAL, "%s", text), -1);
    CHECK(utf8_valid(err.text, strlen(err.text)));
    CHECK_EQ_INT(strlen(err.text), 255);
    (void)err_set(&err, ERR_INTERNAL, "x%s", text);
    CHECK_EQ_INT(strlen(err.text), 253);
    CHECK(utf8_valid(err.text, strlen(err.text)));
}

static void test_err_wrap_keeps_the_end_it_has_room_for(void)
{
    struct err err;
    (void)err_field(&err, "code", "too large");
    err_wrap(&err, "Execute");
    CHECK_STR(err.text, "Execute: too large");
    CHECK_STR(err.detail, "code");
    char long_context[400];
    memset(long_context, 'c', sizeof long_context - 1);
    long_context[sizeof long_context - 1] = '\0';
    err_wrap(&err, long_context);
    CHECK_EQ_INT(strlen(err.text), ERR_TEXT_MAX - 1);
    CHECK_EQ_INT(err_set(NULL, ERR_INTERNAL, "nobody asks"), -1);
}

static void test_buf_maximum_and_one_more(void)
{
    struct buf b;
    buf_init(&b, 1000);
    char block[1000] = {1};
    CHECK_EQ_INT(buf_append(&b, block, 1000), 0);
    CHECK_EQ_INT(b.len, 1000);
    CHECK_EQ_INT(buf_append(&b, block, 1), -1);
    CHECK_EQ_INT(b.len, 1000);
    buf_consume(&b, 999);
    CHECK_EQ_INT(b.len, 1);
    CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
    buf_clear(&b);
    CHECK_EQ_INT(buf_printf(&b, "%d-%s", 7, "x"), 0);
    CHECK(b.len == 3 && memcmp(b.data, "7-x", 3) == 0);
    buf_release(&b);
    CHECK(b.data == NULL && b.len == 0);
}

static void test_strmap_against_a_plain_array(void)
{
    struct strmap m;
    strmap_init(&m);
    static char present[500];
    unsigned seed = 12345;
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1103515245u + 12345u;
        unsigned k = (seed >> 8) % 500;
        char key[16];
        (void)snprintf(key, sizeof key, "key%u", k);
        if ((seed >> 20) % 2) {
            CHECK_EQ_INT(strmap_put(&m, key, &present[k]), 0);
            present[k] = 1;
        } else {
            void *was = strmap_remove(&m, key);
            CHECK(was == (present[k] ? &present[k] : NULL));
            present[k] = 0;
        }
        CHECK(strmap_get(&m, key) == (present[k] ? &present[k] : NULL));
    }
    size_t live = 0;
    for (int k = 0; k < 500; k++) {
        live += (size_t)present[k];
    }
    CHECK_EQ_INT(m.len, live);
    CHECK(m.cap <= 2048);
    strmap_release(&m);
}

static void test_list_removal_while_visiting(void)
{
    struct list head;
    struct list nodes[5];
    list_init(&head);
    for (int i = 0; i < 5; i++) {
        list_push_back(&head, &nodes[i]);
    }
    int visited = 0;
    LIST_FOREACH (it, &head) {
        list_remove(it);
        visited++;
    }
    CHECK_EQ_INT(visited, 5);
    CHECK(list_empty(&head) && list_pop_front(&head) == NULL);
    list_remove(&nodes[0]);
}

static void test_utf8(void)
{
    CHECK(utf8_valid("", 0));
    CHECK(utf8_valid("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10));
    CHECK(!utf8_valid("\xC0\x80", 2));
    CHECK(!utf8_valid("\xED\xA0\x80", 3));
    CHECK(!utf8_valid("\xF4\x90\x80\x80", 4));
    CHECK(!utf8_valid("\xE2\x82", 2));
    CHECK(!utf8_valid("\x80", 1));
    CHECK_EQ_INT(utf8_boundary("ab\xE2\x82", 4), 2);
    CHECK_EQ_INT(utf8_boundary("ab\xE2\x82\xAC", 5), 5);
    CHECK_EQ_INT(utf8_boundary("\xF0\x9F\x98", 3), 0);
    CHECK_EQ_INT(utf8_boundary("\x80\x80\x80\x80", 4), 4);
    CHECK_EQ_INT(utf8_boundary("", 0), 0);
}

static void test_ids(void)
{
    char a[ID_SESSION_MAX + 1];
    char b[ID_SESSION_MAX + 1];
    id_session("node-1.example", a);
    id_session("node-1.example", b);
    CHECK(strcmp(a, b) != 0);
    CHECK_EQ_INT(id_route("node-1.example", a), ID_ROUTE_HERE);
    CHECK_EQ_INT(id_route("node-1", a), ID_ROUTE_ELSEWHERE);
    CHECK_EQ_INT(id_route("n", "n-tooshort"), ID_ROUTE_MALFORMED);
    CHECK_EQ_INT(id_route("n", ""), ID_ROUTE_MALFORMED);
    CHECK_EQ_INT(id_route("n", "-01ARZ3NDEKTSV4RRFFQ69G5FAV"), ID_ROUTE_MALFORMED);
    char node[ID_NODE_MAX + 2];
    memset(node, 'n', sizeof node - 1);
    node[ID_NODE_MAX] = '\0';
    CHECK(id_node_valid(node));
    node[ID_NODE_MAX] = 'n';
    node[ID_NODE_MAX + 1] = '\0';
    CHECK(!id_node_valid(node));
    CHECK(!id_node_valid("") && !id_node_valid("-a") && !id_node_valid("a-") &&
          !id_node_valid("a b"));
    char id[ID_CLIENT_MAX + 2];
    memset(id, 'x', sizeof id - 1);
    id[ID_CLIENT_MAX] = '\0';
    CHECK(id_client_valid(id));
    id[ID_CLIENT_MAX] = 'x';
    id[ID_CLIENT_MAX + 1] = '\0';
    CHECK(!id_client_valid(id));
    CHECK(!id_client_valid("") && !id_client_valid("a/b") && id_client_valid("a.b_c:d-e"));
}

static void test_ulids_of_one_moment_sort_by_time(void)
{
    char first[ID_ULID_LEN + 1];
    char later[ID_ULID_LEN + 1];
    id_ulid(first);
    int64_t start = clock_real_ns() / NS_PER_MS;
    while (clock_real_ns() / NS_PER_MS < start + 2) {
    }
    id_ulid(later);
    CHECK(strcmp(first, later) < 0);
    CHECK_EQ_INT(strlen(first), ID_ULID_LEN);
}

static void test_child_keeps_only_what_it_names(void)
{
    int p[2];
    int q[2];
    CHECK_EQ_INT(fd_pipe(p), 0);
    CHECK_EQ_INT(fd_pipe(q), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const int keep[] = {q[1], 2, p[0], 0};
        fd_close_all_but(keep, 4);
        _exit(fcntl(q[1], F_GETFD) >= 0 && fcntl(p[0], F_GETFD) >= 0 && fcntl(0, F_GETFD) >= 0 &&
                      fcntl(1, F_GETFD) < 0 && fcntl(p[1], F_GETFD) < 0 && fcntl(q[0], F_GETFD) < 0
                  ? 0
                  : 1);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ_INT(status, 0);
    for (int i = 0; i < 2; i++) {
        fd_close(&p[i]);
        fd_close(&q[i]);
    }
    CHECK_EQ_INT(p[0], -1);
}

static void test_fd_close_keeps_errno(void)
{
    int fd = 9999;
    errno = ENOENT;
    fd_close(&fd);
    CHECK_EQ_INT(errno, ENOENT);
    CHECK_EQ_INT(fd, -1);
    fd_close(&fd);
}

static void test_clock_add_saturates(void)
{
    CHECK(clock_add(1, 2) == 3);
    CHECK(clock_add(CLOCK_NEVER, 1) == CLOCK_NEVER);
    CHECK(clock_add(CLOCK_NEVER - 1, 1) == CLOCK_NEVER);
}

/* The log goes to a pipe in the place of stderr. */
static size_t log_into(char *out, size_t size, const char *value)
{
    int p[2];
    CHECK_EQ_INT(fd_pipe(p), 0);
    int saved = dup(2);
    (void)dup2(p[1], 2);
    log_event(LOG_ERROR, "test", "key", value, (char *)NULL);
    (void)dup2(saved, 2);
    fd_close(&saved);
    fd_close(&p[1]);
    ssize_t n = read(p[0], out, size - 1);
    fd_close(&p[0]);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void test_log_line_is_one_line_of_json(void)
{
    static char line[8192];
    size_t n = log_into(line, sizeof line, "a\"b\\c\nd\x01");
    CHECK(n > 0 && line[n - 1] == '\n' && strchr(line, '\n') == line + n - 1);
    CHECK(strstr(line, "\"key\":\"a\\\"b\\\\c\\u000ad\\u0001\"}") != NULL);
    CHECK(log_into(line, sizeof line, NULL) > 0);
    CHECK(strstr(line, "\"key\":null}") != NULL);
}

static void test_log_line_is_cut_and_stays_json(void)
{
    static char line[8192];
    static char value[6000];
    memset(value, '"', sizeof value - 1);
    size_t n = log_into(line, sizeof line, value);
    CHECK(n > 4000 && n <= 4096);
    CHECK(n > 3 && strcmp(line + n - 3, "\"}\n") == 0);
}

int main(void)
{
    RUN(test_err_facts_are_total);
    RUN(test_err_text_is_cut_at_a_character);
    RUN(test_err_wrap_keeps_the_end_it_has_room_for);
    RUN(test_buf_maximum_and_one_more);
    RUN(test_strmap_against_a_plain_array);
    RUN(test_list_removal_while_visiting);
    RUN(test_utf8);
    RUN(test_ids);
    RUN(test_ulids_of_one_moment_sort_by_time);
    RUN(test_child_keeps_only_what_it_names);
    RUN(test_fd_close_keeps_errno);
    RUN(test_clock_add_saturates);
    RUN(test_log_line_is_one_line_of_json);
    RUN(test_log_line_is_cut_and_stays_json);
    return check_done();
}
