#include "clients/c/cmd/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "clients/c/cmd/cli.h"
#include "service/base/fd.h"
#include "service/base/utf8.h"

#define STEP 65536

static int read_all(int fd, struct buf *source)
{
    for (;;) {
        uint8_t *p = buf_reserve(source, STEP);
        if (p == NULL) {
            errno = EFBIG;
            return -1;
        }
        ssize_t n = read(fd, p, STEP);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n == 0) {
            return 0;
        }
        source->len += n > 0 ? (size_t)n : 0;
    }
}

int source_read(const char *path, struct buf *source)
{
    bool standard_input = strcmp(path, "-") == 0;
    FD_AUTO int opened = standard_input ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    int fd = standard_input ? 0 : opened;
    if (fd < 0 || read_all(fd, source) < 0) {
        cli_say("can't read %s: %s", path, strerror(errno));
        return -1;
    }
    if (!utf8_valid(source->data, source->len) || memchr(source->data, 0, source->len) != NULL) {
        cli_say("%s is not Python source: it must be UTF-8 without NUL bytes", path);
        return -1;
    }
    /* Python takes a byte order mark in a file, not in a text. */
    if (source->len >= 3 && memcmp(source->data, "\xef\xbb\xbf", 3) == 0) {
        buf_consume(source, 3);
    }
    return buf_append(source, "", 1);
}
