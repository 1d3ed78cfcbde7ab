#include "clients/c/cmd/values.h"

#include <stdint.h>
#include <stdlib.h>

#include "tests/support/check.h"

static int64_t duration(const char *text)
{
    int64_t ms = -2;
    return value_duration(text, &ms) < 0 ? -1 : ms;
}

static void test_durations(void)
{
    CHECK_EQ_INT(duration("10"), 10000);
    CHECK_EQ_INT(duration("1.5"), 1500);
    CHECK_EQ_INT(duration("0"), 0);
    CHECK_EQ_INT(duration("500ms"), 500);
    CHECK_EQ_INT(duration("2m"), 120000);
    CHECK_EQ_INT(duration("1h"), 3600000);
    CHECK_EQ_INT(duration("1.25s"), 1250);
    CHECK_EQ_INT(duration("0.0001"), 1); /* a positive time never becomes "no limit" */
    CHECK_EQ_INT(duration("0.000000000001"), 0);
}

static void test_no_durations(void)
{
    static const char *const bad[] = {"",           "-1",  "s",   "1 s",  "1d",
                                      ".5",         "1e3", "1,5", "soon", "+1",
                                      "9999999999", "nan", "10 ", "0x10", "999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(duration(bad[i]) == -1);
    }
}

static void test_sizes(void)
{
    uint64_t n = 0;
    CHECK(value_size("4096", &n) == 0 && n == 4096);
    CHECK(value_size("64KiB", &n) == 0 && n == 65536);
    CHECK(value_size("16MiB", &n) == 0 && n == 16777216);
    CHECK(value_size("8GiB", &n) == 0 && n == UINT64_C(8) << 30);
    CHECK(value_size("16777215TiB", &n) == 0);
    CHECK(value_size("16777216TiB", &n) < 0);
    CHECK(value_size("1.5MiB", &n) < 0);
    CHECK(value_size("-1", &n) < 0);
    CHECK(value_size("", &n) < 0);
    CHECK(value_size("1KB", &n) < 0);
}

static void test_default_address(void)
{
    char address[256];
    char small[8];
    CHECK(setenv("XDG_RUNTIME_DIR", "/run/user/77", 1) == 0);
    CHECK(value_default_address(address, sizeof address) == 0);
    CHECK(strncmp(address, "unix:/", 6) == 0);
    CHECK(value_default_address(small, sizeof small) < 0);
}

int main(void)
{
    RUN(test_durations);
    RUN(test_no_durations);
    RUN(test_sizes);
    RUN(test_default_address);
    return check_done();
}
