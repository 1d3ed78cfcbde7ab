/* Every byte of a session's output, in order. */
#include <stdio.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/unit/child/fixture.h"

static void test_every_byte_arrives(void)
{
    open_session();
    CHECK_EQ_INT(run("import sys\nfor i in range(100000): print(i)\n"
                     "n = sys.stdout.buffer.write(bytes(range(256)) * 40960)"),
                 OK);
    CHECK_EQ_INT(result.out.len, 588890 + 256 * 40960);
    CHECK_EQ_INT(result.marks, 0); /* one stream alone needs none */
    close_session();
}

static void test_streams_are_real(void)
{
    open_session();
    CHECK_PRINTED("import sys, io\n"
                  "o = sys.stdout\n"
                  "print(o.fileno(), sys.stderr.fileno(), o.encoding, o.isatty(), o.name, o.mode,\n"
                  "      isinstance(o, io.TextIOBase), isinstance(o.buffer, io.BufferedIOBase),\n"
                  "      o.writable(), o.readable(), o is sys.__stdout__)",
                  "1 2 utf-8 False <stdout> w True True True False True\n");
    CHECK_PRINTED("print('\\ud800')", "\\ud800\n");
    CHECK_PRINTED("print('a', 1, sep='-', end='!', flush=True)", "a-1!");
    CHECK_PRINTED("print(print, print.__module__)", "<built-in function print> builtins\n");
    close_session();
}

static void test_streams_survive_their_user(void)
{
    open_session();
    CHECK_EQ_INT(run("import sys\nsys.stdout = None\nsys.stderr.close()\nprint('lost')"), OK);
    CHECK_PRINTED("print('a'); print('b', file=sys.stderr)", "a\nb\n");
    CHECK_EQ_INT(run("b = sys.stdout.detach()"), OK);
    CHECK_PRINTED("print('c')", "c\n");
    CHECK_EQ_INT(run("import os\nos.close(1); os.close(2)"), OK);
    CHECK(result.done->descendants); /* asks for new pipes */
    CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = "print('d')", .fresh_pipes = true}), OK);
    CHECK_STR(text(&result.both), "d\n");
    close_session();
}

static void test_non_blocking_pipe_loses_nothing(void)
{
    open_session();
    CHECK_EQ_INT(run("import os\nos.set_blocking(1, False)\n"
                     "for i in range(5000): print('y' * 99)"),
                 OK);
    CHECK_EQ_INT(result.out.len, 500000);
    close_session();
}

static const char mixed_writers[] =
    "import ctypes, os, random, subprocess, sys\n"
    "r = random.Random(SEED)\n"
    "libc = ctypes.CDLL(None)\n"
    "for i in range(200):\n"
    "    fd = r.choice((1, 2)); s = (sys.stdout, sys.stderr)[fd - 1]; t = '%d ' % i\n"
    "    kind = r.randrange(8)\n"
    "    if kind < 2: print(t, end='', file=s)\n"
    "    elif kind == 2: os.write(fd, t.encode())\n"
    "    elif kind == 3: libc.write(fd, t.encode(), len(t))\n"
    "    elif kind == 4: s.buffer.write(t.encode())\n"
    "    elif kind == 5:\n"
    "        pid = os.fork()\n"
    "        if pid == 0:\n"
    "            os.write(fd, t.encode()); os._exit(0)\n"
    "        os.waitpid(pid, 0)\n"
    "    elif kind == 6 and r.random() < 0.1:\n"
    "        subprocess.run(['/bin/echo', '-n', t], stdout=fd)\n"
    "    else: os.writev(fd, [t.encode()])\n";

static void test_order_of_both_streams(void)
{
    struct buf want;
    buf_init(&want, 65536);
    for (int i = 0; i < 200; i++) {
        (void)buf_printf(&want, "%d ", i);
    }
    (void)buf_append(&want, "", 1);
    open_session();
    session.most_bytes = 300;
    for (int seed = 0; seed < 10; seed++) {
        char code[sizeof mixed_writers + 32];
        (void)snprintf(code, sizeof code, "SEED = %d\n%s", seed, mixed_writers);
        CHECK_EQ_INT(run(code), OK);
        CHECK_STR(text(&result.both), text(&want));
        CHECK(result.marks > 0);
    }
    close_session();
    buf_release(&want);
}

static void test_c_code_has_its_place(void)
{
    open_session();
    CHECK_PRINTED("import ctypes, sys\nc = ctypes.CDLL(None)\n"
                  "print('1'); n = c.puts(b'2'); print('3', file=sys.stderr); n = c.printf(b'4');\n"
                  "print('5', file=sys.stderr)",
                  "1\n2\n3\n45\n");
    close_session();
}

int main(void)
{
    if (fixture_begin() < 0) {
        return 1;
    }
    RUN(test_every_byte_arrives);
    RUN(test_streams_are_real);
    RUN(test_streams_survive_their_user);
    RUN(test_non_blocking_pipe_loses_nothing);
    RUN(test_order_of_both_streams);
    RUN(test_c_code_has_its_place);
    return fixture_end(check_done());
}
