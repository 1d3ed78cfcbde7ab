/* The library without a server: addresses, ids, cancelling, and what a refused connection is. */
#include "clients/c/pyexec.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/support/check.h"

#define NOBODY "unix:/nowhere/at/all.sock"

static void test_addresses(void)
{
    static const char *const bad[] = {
        "", "x", ":", "host", "host:", ":1", "host:port", "unix:", "unix:relative", "http://x/",
    };
    static const char *const good[] = {"unix:/a/b", "unix-abstract:name", "127.0.0.1:80",
                                       "[::1]:80", "localhost:1"};
    struct pyexec_error err;
    struct pyexec_client *client = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(pyexec_connect(bad[i], &client, &err) < 0);
        CHECK_EQ_INT(err.code, PYEXEC_CODE_INVALID_ARGUMENT);
        CHECK(client == NULL);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        client = NULL;
        CHECK(pyexec_connect(good[i], &client, &err) == 0);
        pyexec_close(client);
    }
}

static void test_long_address(void)
{
    char address[2048];
    struct pyexec_error err;
    struct pyexec_client *client;
    memset(address, 'a', sizeof address);
    memcpy(address, "unix:/", 6);
    address[sizeof address - 1] = '\0';
    CHECK(pyexec_connect(address, &client, &err) < 0);
}

static void test_nobody_listens(void)
{
    struct pyexec_error err;
    struct pyexec_client *client;
    struct pyexec_result *result = NULL;
    struct pyexec_info *info = NULL;
    const struct pyexec_spec spec = {.code = "1"};
    CHECK(pyexec_connect(NOBODY, &client, &err) == 0);
    CHECK(pyexec_info(client, &info, &err) < 0 && info == NULL);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_UNAVAILABLE);
    CHECK_STR(err.reason, "");
    /* Never answered, no invitation: not tried again. */
    CHECK(pyexec_execute(client, &spec, NULL, NULL, &result, &err) < 0 && result == NULL);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_UNAVAILABLE);
    pyexec_close(client);
}

static void test_bad_session_ids(void)
{
    char longest[300];
    struct pyexec_error err;
    struct pyexec_client *client;
    struct pyexec_session *session;
    struct pyexec_result *result;
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    CHECK(pyexec_connect(NOBODY, &client, &err) == 0);
    CHECK(pyexec_get_session(client, "a\nb", &session, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_INVALID_ARGUMENT);
    CHECK(pyexec_get_session(client, longest, &session, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_INVALID_ARGUMENT);
    CHECK(pyexec_attach(client, "", "e", 0, NULL, NULL, &result, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_INVALID_ARGUMENT);
    CHECK(pyexec_attach(client, "s", longest, 0, NULL, NULL, &result, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_INVALID_ARGUMENT);
    pyexec_close(client);
}

static void test_too_many_pairs(void)
{
    struct pyexec_error err;
    struct pyexec_client *client;
    struct pyexec_result *result;
    struct pyexec_pair *pairs = calloc(PYEXEC_MAX_PAIRS + 1, sizeof *pairs);
    if (pairs == NULL) {
        CHECK(pairs != NULL);
        return;
    }
    for (size_t i = 0; i <= PYEXEC_MAX_PAIRS; i++) {
        pairs[i] = (struct pyexec_pair){"k", "v"};
    }
    struct pyexec_spec spec = {.code = "1", .env = pairs, .n_env = PYEXEC_MAX_PAIRS + 1};
    CHECK(pyexec_connect(NOBODY, &client, &err) == 0);
    CHECK(pyexec_execute(client, &spec, NULL, NULL, &result, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_INVALID_ARGUMENT);
    spec.n_env = PYEXEC_MAX_PAIRS;
    CHECK(pyexec_execute(client, &spec, NULL, NULL, &result, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_UNAVAILABLE);
    pyexec_close(client);
    free(pairs);
}

static void test_cancel_lasts(void)
{
    struct pyexec_error err;
    struct pyexec_client *client;
    int64_t ns;
    CHECK(pyexec_connect(NOBODY, &client, &err) == 0);
    pyexec_cancel(client);
    for (int i = 0; i < 3; i++) {
        CHECK(pyexec_ping(client, &ns, &err) < 0);
        CHECK_EQ_INT(err.code, PYEXEC_CODE_CANCELLED);
    }
    pyexec_uncancel(client);
    CHECK(pyexec_ping(client, &ns, &err) < 0);
    CHECK_EQ_INT(err.code, PYEXEC_CODE_UNAVAILABLE);
    pyexec_close(client);
}

static void *ping_until_cancelled(void *arg)
{
    struct pyexec_error err;
    int64_t ns;
    do {
        CHECK(pyexec_ping(arg, &ns, &err) < 0);
    } while (err.code != PYEXEC_CODE_CANCELLED);
    return NULL;
}

static void test_cancel_from_another_thread(void)
{
    struct pyexec_error err;
    struct pyexec_client *client;
    pthread_t threads[3];
    CHECK(pyexec_connect(NOBODY, &client, &err) == 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, ping_until_cancelled, client) == 0);
    }
    pyexec_cancel(client);
    for (size_t i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    pyexec_close(client);
}

static void test_ids_differ(void)
{
    char a[PYEXEC_ID_SIZE];
    char b[PYEXEC_ID_SIZE];
    struct pyexec_error err;
    CHECK(pyexec_new_id(a, &err) == 0 && pyexec_new_id(b, &err) == 0);
    CHECK(strcmp(a, b) != 0);
    CHECK_EQ_INT(strlen(a), 34);
    CHECK_EQ_INT(strspn(a, "c-0123456789abcdef"), 34);
}

static void test_names(void)
{
    CHECK_STR(pyexec_status_name(PYEXEC_STATUS_TIMEOUT_ERROR), "TIMEOUT_ERROR");
    CHECK_STR(pyexec_status_name((enum pyexec_status)10), "UNKNOWN");
    CHECK_STR(pyexec_session_state_name(PYEXEC_SESSION_DEAD), "DEAD");
    CHECK_STR(pyexec_session_state_name((enum pyexec_session_state)6), "UNKNOWN");
}

static void test_free_of_nothing(void)
{
    pyexec_close(NULL);
    pyexec_result_free(NULL);
    pyexec_run_free(NULL);
    pyexec_execution_free(NULL);
    pyexec_session_free(NULL);
    pyexec_session_list_free(NULL);
    pyexec_info_free(NULL);
    CHECK(true);
}

#if defined(__SANITIZE_THREAD__)
/* libgrpc isn't instrumented: ThreadSanitizer sees its reads and writes but not its locks. What
 * happens inside it is left out; all of our own code is checked. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

int main(void)
{
    RUN(test_addresses);
    RUN(test_long_address);
    RUN(test_nobody_listens);
    RUN(test_bad_session_ids);
    RUN(test_too_many_pairs);
    RUN(test_cancel_lasts);
    RUN(test_cancel_from_another_thread);
    RUN(test_ids_differ);
    RUN(test_names);
    RUN(test_free_of_nothing);
    return check_done();
}
