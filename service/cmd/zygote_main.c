/* zygote_main.c: pyexec-zygote. Started by pyexecd's launcher, never by hand. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "service/base/version.h"
#include "service/zygote/start.h"
#include "service/zygote/zygote.h"

#ifdef __SANITIZE_ADDRESS__
/* CPython and its extension modules free little at their end: no leaks are looked for here. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}
#endif

static int started_by_launcher(void)
{
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof domain;
    return getsockopt(ZYGOTE_FD, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           getsockopt(ZYGOTE_FD, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && domain == AF_UNIX &&
           type == SOCK_STREAM;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("pyexec-zygote %s\n", PYEXEC_VERSION);
        return 0;
    }
    if (argc != 1 || !started_by_launcher()) {
        (void)fprintf(stderr,
                      "pyexec-zygote: this is the part of pyexecd that starts Python sessions; "
                      "pyexecd runs it by itself. Start pyexecd instead.\n");
        return 2;
    }
    return zygote_run(ZYGOTE_FD);
}
