/* Files below a working directory, and what tries to lead out of it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/session/files.h"
#include "service/session/tree.h"
#include "tests/support/check.h"

static char base[64];
static int base_fd;
static int root;

static void enter(void)
{
    (void)snprintf(base, sizeof base, "/tmp/pyexec-files-XXXXXX");
    CHECK(mkdtemp(base) != NULL);
    base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdirat(base_fd, "work", 0700) == 0);
    root = openat(base_fd, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FD_AUTO int secret = openat(base_fd, "secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(secret, "secret", 6) == 6);
}

static void leave(void)
{
    fd_close(&root);
    fd_close(&base_fd);
    const char *slash = strrchr(base, '/');
    CHECK_EQ_INT(tree_remove_at(AT_FDCWD, base), 0);
    CHECK(slash != NULL && access(base, F_OK) < 0);
}

static int write_text(const char *path, uint64_t offset, const char *text, bool truncate,
                      bool parents, struct err *err)
{
    Pyexec__V1__WriteFileRequest r = PYEXEC__V1__WRITE_FILE_REQUEST__INIT;
    Pyexec__V1__FileInfo *f = NULL;
    r.path = (char *)(uintptr_t)path;
    r.offset = offset;
    r.data.data = (uint8_t *)(uintptr_t)text;
    r.data.len = strlen(text);
    r.truncate = truncate;
    r.make_parents = parents;
    int result = files_write(root, &r, &f, err);
    if (result == 0) {
        pyexec__v1__file_info__free_unpacked(f, NULL);
    }
    return result;
}

/* The content, or the negated code of the error. */
static int read_text(const char *path, char *out, size_t size, struct err *err)
{
    int fd;
    Pyexec__V1__FileInfo *f = NULL;
    if (files_open_read(root, path, &fd, &f, err) < 0) {
        return -1;
    }
    pyexec__v1__file_info__free_unpacked(f, NULL);
    ssize_t n = read(fd, out, size - 1);
    (void)close(fd);
    out[n > 0 ? n : 0] = '\0';
    return 0;
}

static void test_write_read_and_repeat(void)
{
    struct err err = {0};
    char text[64];
    enter();
    CHECK_EQ_INT(write_text("a/b/c.txt", 0, "hello", false, false, &err), -1);
    CHECK_EQ_INT(err.code, ERR_FILE_NOT_FOUND);
    CHECK_EQ_INT(write_text("a/b/c.txt", 0, "hello", false, true, &err), 0);
    CHECK_EQ_INT(write_text("a/b/c.txt", 5, " world and more", true, false, &err), 0);
    CHECK_EQ_INT(write_text("a/b/c.txt", 5, " world", true, false, &err), 0);
    CHECK_EQ_INT(write_text("a/b/c.txt", 5, " world", true, false, &err), 0);
    CHECK_EQ_INT(read_text("a/b/c.txt", text, sizeof text, &err), 0);
    CHECK_STR(text, "hello world");
    Pyexec__V1__FileInfo *f = NULL;
    CHECK_EQ_INT(files_stat(root, "a/b/c.txt", &f, &err), 0);
    CHECK_EQ_INT(f->size_bytes, 11);
    CHECK_EQ_INT(f->type, PYEXEC__V1__FILE_TYPE__FILE_TYPE_REGULAR);
    pyexec__v1__file_info__free_unpacked(f, NULL);
    leave();
}

static void check_outside(const char *path)
{
    struct err err = {0};
    char text[64];
    Pyexec__V1__FileInfo *f = NULL;
    Pyexec__V1__ListFilesRequest list = PYEXEC__V1__LIST_FILES_REQUEST__INIT;
    Pyexec__V1__ListFilesResponse *page = NULL;
    list.path = (char *)(uintptr_t)path;
    CHECK(read_text(path, text, sizeof text, &err) < 0 && err.code == ERR_PATH_OUTSIDE_ROOT);
    CHECK(write_text(path, 0, "x", true, true, &err) < 0);
    CHECK(files_list(root, &list, &page, &err) < 0);
    CHECK(files_mkdir(root, path, &f, &err) < 0);
    CHECK(files_move(root, path, "stolen", &f, &err) < 0 || err.code == ERR_NONE);
}

static void test_nothing_leads_out(void)
{
    struct err err = {0};
    char absolute[128];
    char text[64];
    enter();
    (void)snprintf(absolute, sizeof absolute, "%s/secret", base);
    CHECK(mkdirat(root, "d", 0700) == 0);
    CHECK(symlinkat("../secret", root, "up") == 0);
    CHECK(symlinkat(absolute, root, "abs") == 0);
    CHECK(symlinkat("..", root, "dir") == 0);
    CHECK(symlinkat("/proc/self/root", root, "magic") == 0);
    check_outside("../secret");
    check_outside("d/../../secret");
    check_outside(absolute);
    check_outside("/proc/self/root/etc/passwd");
    check_outside("dir/secret");
    check_outside("magic/etc/passwd");
    CHECK(read_text("up", text, sizeof text, &err) < 0 && err.code == ERR_PATH_OUTSIDE_ROOT);
    CHECK(read_text("abs", text, sizeof text, &err) < 0 && err.code == ERR_PATH_OUTSIDE_ROOT);
    CHECK(write_text("up", 0, "x", true, false, &err) < 0);
    CHECK(write_text("abs", 0, "x", true, false, &err) < 0);
    /* Removing a link removes the link. */
    CHECK_EQ_INT(files_delete(root, "dir", true, &err), 0);
    CHECK_EQ_INT(files_delete(root, "up", true, &err), 0);
    CHECK_EQ_INT(files_delete(root, "../secret", false, &err), -1);
    CHECK(faccessat(base_fd, "secret", F_OK, 0) == 0);
    /* A link that stays inside is followed. */
    CHECK_EQ_INT(write_text("d/in", 0, "in", true, false, &err), 0);
    CHECK(symlinkat("d/in", root, "inside") == 0);
    CHECK_EQ_INT(read_text("inside", text, sizeof text, &err), 0);
    CHECK_STR(text, "in");
    leave();
}

static void test_only_regular_files_are_opened(void)
{
    struct err err = {0};
    char text[16];
    enter();
    CHECK(mkfifoat(root, "fifo", 0600) == 0);
    CHECK(mkdirat(root, "dir", 0700) == 0);
    CHECK(read_text("fifo", text, sizeof text, &err) < 0 && err.code == ERR_FILE_DENIED);
    CHECK(write_text("fifo", 0, "x", false, false, &err) < 0 && err.code == ERR_FILE_DENIED);
    CHECK(read_text("dir", text, sizeof text, &err) < 0 && err.code == ERR_FILE_DENIED);
    CHECK(write_text("dir", 0, "x", false, false, &err) < 0 && err.code == ERR_FILE_DENIED);
    CHECK(read_text("none", text, sizeof text, &err) < 0 && err.code == ERR_FILE_NOT_FOUND);
    CHECK(strstr(err.text, base) == NULL);
    leave();
}

static void test_a_hard_link_to_anothers_file_is_refused(void)
{
    if (geteuid() != 0) {
        /* An ordinary user can't make the other user's file; the rule is the same code. */
        struct err err = {0};
        enter();
        CHECK(linkat(base_fd, "secret", root, "link", 0) == 0);
        char text[16];
        CHECK_EQ_INT(read_text("link", text, sizeof text, &err), 0);
        leave();
        return;
    }
    struct err err = {0};
    char text[16];
    enter();
    CHECK(fchownat(base_fd, "secret", 12345, 12345, 0) == 0);
    CHECK(linkat(base_fd, "secret", root, "link", 0) == 0);
    CHECK(read_text("link", text, sizeof text, &err) < 0 && err.code == ERR_FILE_DENIED);
    CHECK(write_text("link", 0, "x", false, false, &err) < 0 && err.code == ERR_FILE_DENIED);
    leave();
}

static atomic_bool racing;

static void *flip(void *arg)
{
    (void)arg;
    while (atomic_load(&racing)) {
        (void)renameat2(root, "real", root, "trap", RENAME_EXCHANGE);
    }
    return NULL;
}

/* A directory and a link that leads out change places all the time: never the secret. */
static void test_rename_race(void)
{
    enter();
    pthread_t thread;
    CHECK(mkdirat(root, "real", 0700) == 0);
    CHECK(symlinkat("..", root, "trap") == 0);
    FD_AUTO int fd = openat(root, "real/secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(fd, "public", 6) == 6);
    atomic_store(&racing, true);
    CHECK(pthread_create(&thread, NULL, flip, NULL) == 0);
    int good = 0;
    for (int i = 0; i < 5000; i++) {
        struct err err = {0};
        char text[16] = "";
        if (read_text("real/secret", text, sizeof text, &err) == 0) {
            CHECK_STR(text, "public");
            good++;
        }
    }
    atomic_store(&racing, false);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(good > 0);
    leave();
}

static void test_pages(void)
{
    struct err err = {0};
    enter();
    for (int i = 0; i < 25; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "d%d/f%02d", i % 3, i);
        CHECK_EQ_INT(write_text(name, 0, "x", true, true, &err), 0);
    }
    CHECK(openat(root, "bad\xFFname", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0);
    Pyexec__V1__ListFilesRequest list = PYEXEC__V1__LIST_FILES_REQUEST__INIT;
    char token[FILES_PATH_MAX * 2 + 1] = "";
    char last[256] = "";
    int seen = 0;
    int pages = 0;
    list.depth = 2;
    list.page_size = 7;
    do {
        Pyexec__V1__ListFilesResponse *page = NULL;
        list.page_token = token;
        CHECK_EQ_INT(files_list(root, &list, &page, &err), 0);
        if (page == NULL) {
            break;
        }
        CHECK(page->n_files <= 7);
        for (size_t i = 0; i < page->n_files; i++) {
            CHECK(strcmp(page->files[i]->path, last) > 0);
            (void)snprintf(last, sizeof last, "%s", page->files[i]->path);
            seen++;
        }
        (void)snprintf(token, sizeof token, "%s", page->next_page_token);
        pyexec__v1__list_files_response__free_unpacked(page, NULL);
        pages++;
    } while (token[0] != '\0' && pages < 20);
    CHECK_EQ_INT(seen, 25 + 3 + 1);
    CHECK_EQ_INT(pages, 5);
    leave();
}

static void test_bounds_and_one_beyond(void)
{
    struct err err = {0};
    Pyexec__V1__ListFilesRequest list = PYEXEC__V1__LIST_FILES_REQUEST__INIT;
    Pyexec__V1__ListFilesResponse *page = NULL;
    Pyexec__V1__WriteFileRequest w = PYEXEC__V1__WRITE_FILE_REQUEST__INIT;
    Pyexec__V1__FileInfo *f = NULL;
    enter();
    list.page_size = FILES_PAGE_MAX;
    list.depth = FILES_DEPTH_MAX;
    CHECK_EQ_INT(files_list(root, &list, &page, &err), 0);
    pyexec__v1__list_files_response__free_unpacked(page, NULL);
    list.page_size = FILES_PAGE_MAX + 1;
    CHECK(files_list(root, &list, &page, &err) < 0 && err.code == ERR_INVALID_FIELD);
    list.page_size = -1;
    CHECK(files_list(root, &list, &page, &err) < 0 && err.code == ERR_INVALID_FIELD);
    list.page_size = 0;
    list.depth = FILES_DEPTH_MAX + 1;
    CHECK(files_list(root, &list, &page, &err) < 0 && err.code == ERR_INVALID_FIELD);
    w.path = (char *)(uintptr_t) "chunk";
    w.data.len = FILES_CHUNK_MAX;
    w.data.data = calloc(1, FILES_CHUNK_MAX + 1);
    CHECK_EQ_INT(files_write(root, &w, &f, &err), 0);
    pyexec__v1__file_info__free_unpacked(f, NULL);
    w.data.len = FILES_CHUNK_MAX + 1;
    CHECK(files_write(root, &w, &f, &err) < 0 && err.code == ERR_INVALID_FIELD);
    w.data.len = 1;
    w.offset = INT64_MAX;
    CHECK(files_write(root, &w, &f, &err) < 0 && err.code == ERR_INVALID_FIELD);
    w.offset = 0;
    w.mode = 04755;
    CHECK(files_write(root, &w, &f, &err) < 0 && err.code == ERR_INVALID_FIELD);
    free(w.data.data);
    char *path = malloc(FILES_PATH_MAX + 2);
    memset(path, 'a', FILES_PATH_MAX + 1);
    path[FILES_PATH_MAX + 1] = '\0';
    CHECK(files_stat(root, path, &f, &err) < 0 && err.code == ERR_INVALID_FIELD);
    CHECK(files_stat(root, "bad\xFF", &f, &err) < 0 && err.code == ERR_INVALID_FIELD);
    free(path);
    leave();
}

static void test_move_and_delete(void)
{
    struct err err = {0};
    Pyexec__V1__FileInfo *f = NULL;
    char text[16];
    enter();
    CHECK_EQ_INT(write_text("a/x", 0, "1", true, true, &err), 0);
    CHECK_EQ_INT(files_mkdir(root, "b/c", &f, &err), 0);
    pyexec__v1__file_info__free_unpacked(f, NULL);
    CHECK_EQ_INT(files_mkdir(root, "b/c", &f, &err), 0);
    pyexec__v1__file_info__free_unpacked(f, NULL);
    CHECK_EQ_INT(files_move(root, "a/x", "b/c/y", &f, &err), 0);
    pyexec__v1__file_info__free_unpacked(f, NULL);
    CHECK_EQ_INT(read_text("b/c/y", text, sizeof text, &err), 0);
    CHECK_EQ_INT(files_delete(root, "b", false, &err), -1);
    CHECK_EQ_INT(files_delete(root, "b", true, &err), 0);
    CHECK_EQ_INT(files_delete(root, "b", true, &err), 0);
    CHECK_EQ_INT(files_delete(root, "none/at/all", true, &err), 0);
    CHECK(files_delete(root, "", true, &err) < 0 && err.code == ERR_INVALID_FIELD);
    CHECK(files_delete(root, ".", true, &err) < 0 && err.code == ERR_INVALID_FIELD);
    CHECK_EQ_INT(files_delete(root, "a", false, &err), 0);
    leave();
}

static void test_a_deep_and_locked_tree_goes(void)
{
    enter();
    int dir = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 3000; i++) {
        CHECK(mkdirat(dir, "deep", 0700) == 0);
        int below = openat(dir, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (i % 1000 == 999) {
            CHECK(fchmod(dir, 0) == 0);
        }
        fd_close(&dir);
        dir = below;
    }
    fd_close(&dir);
    CHECK(symlinkat("..", root, "loop") == 0);
    CHECK(fchmod(root, 0700) == 0);
    leave();
}

int main(void)
{
    RUN(test_write_read_and_repeat);
    RUN(test_nothing_leads_out);
    RUN(test_only_regular_files_are_opened);
    RUN(test_a_hard_link_to_anothers_file_is_refused);
    RUN(test_rename_race);
    RUN(test_pages);
    RUN(test_bounds_and_one_beyond);
    RUN(test_move_and_delete);
    RUN(test_a_deep_and_locked_tree_goes);
    return check_done();
}
