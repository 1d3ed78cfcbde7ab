/* Options: every row by flag and by file, every bound at its maximum and one beyond. */
#include <stdlib.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/config/config.h"
#include "tests/support/check.h"

static int parse(struct config *c, struct err *err, const char *a, const char *b, const char *d)
{
    char *argv[] = {(char *)(uintptr_t) "pyexecd", (char *)(uintptr_t)a, (char *)(uintptr_t)b,
                    (char *)(uintptr_t)d, NULL};
    int argc = a == NULL ? 1 : b == NULL ? 2 : d == NULL ? 3 : 4;
    return config_parse(argc, argv, c, err);
}

static void test_defaults(void)
{
    struct config c;
    struct err err = {0};
    CHECK_EQ_INT(parse(&c, &err, NULL, NULL, NULL), 0);
    CHECK_EQ_INT(c.timeout, 3600 * NS_PER_SEC);
    CHECK_EQ_INT(c.max_code_bytes, 16 << 20);
    CHECK_EQ_INT(c.interrupt_grace, 5 * NS_PER_SEC);
    CHECK_EQ_INT(c.listen.len, 1);
    CHECK(strncmp(c.listen.items[0], "unix:/", 6) == 0);
    CHECK_STR(c.profile, "standard");
    config_release(&c);
}

static void test_values(void)
{
    int64_t ns = 0;
    uint64_t bytes = 0;
    CHECK(config_duration("500ms", &ns) == 0 && ns == 500 * NS_PER_MS);
    CHECK(config_duration("1.5", &ns) == 0 && ns == 1500 * NS_PER_MS);
    CHECK(config_duration("0.1s", &ns) == 0 && ns == 100 * NS_PER_MS);
    CHECK(config_duration("2h", &ns) == 0 && ns == 7200 * NS_PER_SEC);
    CHECK(config_duration("", &ns) < 0 && config_duration("s", &ns) < 0);
    CHECK(config_duration("-1s", &ns) < 0 && config_duration("1.s", &ns) < 0);
    CHECK(config_duration("1d", &ns) < 0 && config_duration("1 s", &ns) < 0);
    CHECK(config_duration("99999999999999999999h", &ns) < 0);
    CHECK(config_duration("9223372036s", &ns) == 0);
    CHECK(config_duration("9223372037s", &ns) < 0);
    CHECK(config_size("64KiB", &bytes) == 0 && bytes == 65536);
    CHECK(config_size("0", &bytes) == 0 && bytes == 0);
    CHECK(config_size("1KB", &bytes) < 0);
}

static void test_bounds_and_one_beyond(void)
{
    struct config c;
    struct err err = {0};
    CHECK_EQ_INT(parse(&c, &err, "--max-code-bytes=16MiB", NULL, NULL), 0);
    config_release(&c);
    CHECK_EQ_INT(parse(&c, &err, "--max-code-bytes=16777217", NULL, NULL), -1);
    CHECK(strstr(err.text, "from 1 to 16MiB") != NULL);
    CHECK_EQ_INT(parse(&c, &err, "--spares", "1000", NULL), 0);
    config_release(&c);
    CHECK_EQ_INT(parse(&c, &err, "--spares", "1001", NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--spares", "1.5", NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--timeout=25h", NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--timeout=25h", "--max-timeout=25h", NULL), 0);
    config_release(&c);
}

static void test_lists_add_up_to_their_maximum(void)
{
    struct config c;
    struct err err = {0};
    CHECK_EQ_INT(parse(&c, &err, "--preload=json,re", "--preload", "math"), 0);
    CHECK_EQ_INT(c.preload.len, 3);
    CHECK_STR(c.preload.items[2], "math");
    CHECK(c.preload.items[3] == NULL);
    config_release(&c);
    char many[(CONFIG_LIST_MAX + 1) * 2 + 16] = "--preload=m";
    for (int i = 1; i < CONFIG_LIST_MAX; i++) {
        strcat(many, ",m");
    }
    CHECK_EQ_INT(parse(&c, &err, many, NULL, NULL), 0);
    CHECK_EQ_INT(c.preload.len, CONFIG_LIST_MAX);
    config_release(&c);
    strcat(many, ",m");
    CHECK_EQ_INT(parse(&c, &err, many, NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--preload=a,,b", NULL, NULL), -1);
}

static void test_mistakes_are_named(void)
{
    struct config c;
    struct err err = {0};
    CHECK_EQ_INT(parse(&c, &err, "--nonsense", NULL, NULL), -1);
    CHECK(strstr(err.text, "--nonsense") != NULL);
    CHECK_EQ_INT(parse(&c, &err, "stray", NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--listen", NULL, NULL), -1);
    CHECK(strstr(err.text, "wants a value") != NULL);
    CHECK_EQ_INT(parse(&c, &err, "--profile=loose", NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--node-id=a b", NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--log-level=loud", NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--config=/nonexistent/file", NULL, NULL), -1);
    CHECK_EQ_INT(parse(&c, &err, "--config", NULL, NULL), -1);
}

static int parse_text(struct config *c, struct err *err, const char *text)
{
    CHECK_EQ_INT(config_init_defaults(c, err), 0);
    return config_parse_text(text, strlen(text), c, err);
}

static void test_file_text(void)
{
    struct config c;
    struct err err = {0};
    CHECK_EQ_INT(parse_text(&c, &err,
                            "# comment\n\n spares = 7 \r\nlisten=unix:/a b\n"
                            "require-confinement = true"),
                 0);
    CHECK_EQ_INT(c.spares, 7);
    CHECK_STR(c.listen.items[0], "unix:/a b");
    CHECK(c.require_confinement);
    config_release(&c);
    CHECK_EQ_INT(parse_text(&c, &err, "spares = 1\nbogus = 2\n"), -1);
    CHECK(strstr(err.text, "line 2") != NULL && strstr(err.text, "bogus") != NULL);
    config_release(&c);
    CHECK_EQ_INT(parse_text(&c, &err, "spares 1"), -1);
    config_release(&c);
    CHECK_EQ_INT(parse_text(&c, &err, "require-confinement = maybe"), -1);
    config_release(&c);
    CHECK_EQ_INT(config_init_defaults(&c, &err), 0);
    CHECK_EQ_INT(config_parse_text("a\0b", 3, &c, &err), -1);
    config_release(&c);
}

static void test_flags_win_over_the_file_wherever_it_stands(void)
{
    char path[] = "/tmp/pyexec-config-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "spares = 5\nmax-calls = 9\n", 25) == 25);
    (void)close(fd);
    struct config c;
    struct err err = {0};
    CHECK_EQ_INT(parse(&c, &err, "--spares=6", "--config", path), 0);
    CHECK_EQ_INT(c.spares, 6);
    CHECK_EQ_INT(c.max_calls, 9);
    config_release(&c);
    (void)unlink(path);
}

/* The table of options in service/README.md is this output. */
static void test_readme_has_the_table(void)
{
    char *table = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&table, &size);
    config_print_table(out);
    (void)fclose(out);
    FILE *f = fopen("service/README.md", "r");
    CHECK(f != NULL);
    if (f != NULL) {
        char *text = calloc(1, 1 << 20);
        CHECK(fread(text, 1, (1 << 20) - 1, f) > 0);
        (void)fclose(f);
        if (strstr(text, table) == NULL) {
            (void)fprintf(stderr, "service/README.md lacks this table:\n%s", table);
            CHECK(false);
        }
        free(text);
    }
    free(table);
}

int main(void)
{
    RUN(test_defaults);
    RUN(test_values);
    RUN(test_bounds_and_one_beyond);
    RUN(test_lists_add_up_to_their_maximum);
    RUN(test_mistakes_are_named);
    RUN(test_file_text);
    RUN(test_flags_win_over_the_file_wherever_it_stands);
    RUN(test_readme_has_the_table);
    return check_done();
}
