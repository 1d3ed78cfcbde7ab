/* readme_test.c: service/session/README.md has each file of the folder in its map, and no other. */
#include <dirent.h>
#include <stdlib.h>

#include "tests/support/check.h"

#define FOLDER "service/session"

static char *readme(void)
{
    char *text = calloc(1, 1 << 17);
    FILE *f = fopen(FOLDER "/README.md", "r");
    CHECK(f != NULL);
    if (f != NULL) {
        CHECK(fread(text, 1, (1 << 17) - 1, f) > 0);
        (void)fclose(f);
    }
    return text;
}

static bool ends_in_c(const char *name)
{
    size_t n = strlen(name);
    return n > 2 && strcmp(name + n - 2, ".c") == 0;
}

static void test_map_of_files_is_whole(void)
{
    char *text = readme();
    unsigned files = 0;
    unsigned rows = 0;
    DIR *dir = opendir(FOLDER);
    CHECK(dir != NULL);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char row[300];
        if (!ends_in_c(entry->d_name)) {
            continue;
        }
        files++;
        (void)snprintf(row, sizeof row, "\n| `%s` | ", entry->d_name);
        if (strstr(text, row) == NULL) {
            (void)fprintf(stderr, "README.md lacks %s\n", entry->d_name);
            CHECK(false);
        }
    }
    for (const char *at = text; (at = strstr(at, ".c` | ")) != NULL; at++) {
        rows++;
    }
    CHECK_EQ_INT(rows, files);
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(text);
}

int main(void)
{
    RUN(test_map_of_files_is_whole);
    return check_done();
}
