/* What --listen takes and what it refuses, and why. */
#include <sys/un.h>

#include "service/rpc/address.h"
#include "tests/support/check.h"

static void takes(const char *text, const char *as)
{
    struct address a;
    struct err err = {0};
    char out[ADDRESS_TEXT_MAX];
    int r = address_parse(text, &a, &err);
    CHECK_EQ_INT(r, 0);
    if (r == 0) {
        address_format(&a, out, sizeof out);
        CHECK_STR(out, as);
    }
}

static void refuses(const char *text, const char *because)
{
    struct address a;
    struct err err = {0};
    CHECK_EQ_INT(address_parse(text, &a, &err), -1);
    CHECK(strstr(err.text, because) != NULL);
    if (strstr(err.text, because) == NULL) {
        (void)fprintf(stderr, "%s: %s\n", text, err.text);
    }
}

static void test_taken(void)
{
    takes("unix:/run/x.sock", "unix:/run/x.sock");
    takes("unix:///run/x.sock", "unix:/run/x.sock");
    takes("unix-abstract:a.b-c", "unix-abstract:a.b-c");
    takes("127.0.0.1:0", "127.0.0.1:0");
    takes("127.1.2.3:65535", "127.1.2.3:65535");
    takes("[::1]:50051", "[::1]:50051");
    takes("[0:0:0:0:0:0:0:1]:1", "[::1]:1");
}

static void test_refused(void)
{
    refuses("unix:relative", "must begin with /");
    refuses("unix:", "must begin with /");
    refuses("unix:/", "must begin with /");
    refuses("unix-abstract:", "from 1 to 107");
    refuses("0.0.0.0:1", "encryption");
    refuses("192.168.0.1:1", "encryption");
    refuses("[::]:1", "encryption");
    refuses("[fe80::1]:1", "encryption");
    refuses("[::ffff:127.0.0.1]:1", "encryption");
    refuses("localhost:1", "encryption");
    refuses("[127.0.0.1]:1", "encryption");
    refuses("::1:1", "encryption");
    refuses("127.0.0.1", "not an address");
    refuses("127.0.0.1:", "not an address");
    refuses("127.0.0.1:65536", "not an address");
    refuses("127.0.0.1:-1", "not an address");
    refuses("127.0.0.1:99999999999999999999", "not an address");
    refuses("[::1]", "not an address");
    refuses("[::1", "not an address");
    refuses("", "not an address");
}

static void test_longest_path_and_one_more(void)
{
    char text[ADDRESS_TEXT_MAX] = "unix:/";
    size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    memset(text + 6, 'x', max - 1);
    takes(text, text);
    text[6 + max - 1] = 'x';
    refuses(text, "more than");
    memset(text, 0, sizeof text);
    memcpy(text, "unix-abstract:", 14);
    memset(text + 14, 'x', max);
    takes(text, text);
    text[14 + max] = 'x';
    refuses(text, "from 1 to");
}

int main(void)
{
    RUN(test_taken);
    RUN(test_refused);
    RUN(test_longest_path_and_one_more);
    return check_done();
}
