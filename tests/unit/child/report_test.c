/* How runs end: exit status, crashes, exceptions of every kind. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support/check.h"
#include "tests/unit/child/fixture.h"

/* --- ends -------------------------------------------------------------------------------------------- */

static void test_exit_status(void)
{
    static const struct {
        const char *code;
        int status;
    } rows[] = {
        {"raise SystemExit", 0},           {"import sys; sys.exit(3)", 3},
        {"raise SystemExit(256)", 0},      {"raise SystemExit(-1)", 255},
        {"raise SystemExit(10**30)", 255}, {"raise SystemExit('why')", 1},
    };
    open_session();
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_EQ_INT(run(rows[i].code), EXITED);
        CHECK_EQ_INT(result.done->exit_code, rows[i].status);
        CHECK_STR(result.done->exc_type, "SystemExit");
    }
    CHECK_STR(text(&result.both), "why\n");
    CHECK_PRINTED("import threading\n"
                  "t = threading.Thread(target=sys.exit); t.start(); t.join(); print('here')",
                  "here\n");
    close_session();
}

static void test_crash_keeps_its_output(void)
{
    open_session();
    CHECK_EQ_INT(run("import os, signal\nprint('before'); os.kill(os.getpid(), signal.SIGKILL)"),
                 -1);
    CHECK_STR(text(&result.both), "before\n");
    CHECK(WIFSIGNALED(result.wait_status) && WTERMSIG(result.wait_status) == SIGKILL);
    close_session();
    open_session();
    CHECK_EQ_INT(run("import os\nprint('buffered'); os._exit(5)"), -1);
    CHECK_STR(text(&result.both), "buffered\n");
    CHECK(WIFEXITED(result.wait_status) && WEXITSTATUS(result.wait_status) == 5);
    close_session();
    open_session();
    CHECK_EQ_INT(run("import os\nos.closerange(3, 100)"), -1); /* the control socket */
    CHECK(WIFEXITED(result.wait_status));
    close_session();
}

static void test_session_ends_with_its_socket(void)
{
    open_session();
    int status = driver_stop(&session);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close_session();
}

/* --- exceptions --------------------------------------------------------------------------------------- */

static void test_exception_report(void)
{
    open_session();
    CHECK_EQ_INT(
        run("try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('v', 2) from e"),
        ERROR);
    CHECK_STR(result.done->exc_type, "ValueError");
    CHECK_STR(result.done->exc_message, "('v', 2)");
    CHECK_EQ_INT(result.done->exc_info->n_args, 2);
    CHECK_STR(result.done->exc_info->args[1], "2");
    CHECK(contains(result.done->traceback, "The above exception was the direct cause"));
    CHECK_EQ_INT(run("import no_such_module_here"), ERROR);
    CHECK_EQ_INT(result.done->exc_info->n_attributes, 2); /* name, msg */
    CHECK_EQ_INT(run("e = ValueError('n'); e.add_note('a note')\n"
                     "raise ExceptionGroup('g', [e])"),
                 ERROR);
    CHECK(contains(result.done->traceback, "a note"));
    close_session();
}

static void test_syntax_errors(void)
{
    open_session();
    CHECK_EQ_INT(run("def f(:\n  pass"), ERROR);
    CHECK_STR(result.done->traceback, "  File \"runfile.py\", line 1\n"
                                      "    def f(:\n"
                                      "          ^\n"
                                      "SyntaxError: invalid syntax\n");
    CHECK_EQ_INT(run("x = 1\nreturn 5"), ERROR); /* found after parsing */
    CHECK(contains(result.done->traceback, "    return 5\n"));
    CHECK_EQ_INT(run("# coding: latin-1\nprint('\xC3\xA9')"), OK); /* the cookie means nothing */
    CHECK_STR(text(&result.both), "\xC3\xA9\n");
    CHECK_EQ_INT(run("\xEF\xBB\xBFprint(1)"), OK);
    CHECK_EQ_INT(run("x = '\xFF'"), ERROR);
    CHECK_STR(result.done->exc_type, "SyntaxError");
    CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = "a\0b", .code_len = 3}), ERROR);
    CHECK_STR(result.done->exc_message, "source code cannot contain null bytes");
    CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = "1/0", .filename = "cell-3.py"}), ERROR);
    CHECK(contains(result.done->traceback, "File \"cell-3.py\", line 1"));
    close_session();
}

static void test_deep_sources(void)
{
    static const char *const pieces[][2] = {{"(", "1"}, {"-", "1"}, {"1+", "1"}, {"[", "]"}};
    open_session();
    for (unsigned i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buf code;
        buf_init(&code, 4u << 20);
        for (int n = 0; n < 200000; n++) {
            (void)buf_append_str(&code, pieces[i][0]);
        }
        (void)buf_append_str(&code, pieces[i][1]);
        (void)buf_append(&code, "", 1);
        CHECK_EQ_INT(run(text(&code)), ERROR);
        buf_release(&code);
    }
    CHECK_PRINTED("print('fine')", "fine\n");
    close_session();
}

/* Objects that resist their report. */
static void test_hostile_exceptions(void)
{
    static const struct {
        const char *code;
        const char *type;
        const char *message;
    } rows[] = {
        {"class X(Exception):\n  def __str__(s): raise RuntimeError\nraise X", "X",
         "<exception str() failed>"},
        {"class X(Exception):\n  def __str__(s): return 5\nraise X", "X",
         "<exception str() failed>"},
        {"class X(Exception):\n  def __str__(s): raise SystemExit(0)\nraise X", "X",
         "<exception str() failed>"},
        {"class X(Exception):\n  @property\n  def __class__(s): return SystemExit\nraise X('lie')",
         "X", "lie"},
        {"class M(type):\n"
         "  def __getattribute__(c, n): raise RuntimeError(n)\n"
         "class X(Exception, metaclass=M): pass\nraise X('m')",
         "X", "m"},
        {"e = None\nfor i in range(20000):\n  n = ValueError(i); n.__context__ = e; e = n\nraise e",
         "ValueError", "19999"},
        {"a = ValueError('a'); b = ValueError('b'); a.__cause__ = b; b.__cause__ = a\nraise a",
         "ValueError", "a"},
        {"e = ValueError(1)\nfor i in range(20000): e = ExceptionGroup('g', [e])\nraise e",
         "ExceptionGroup", "g (1 sub-exception)"},
        {"raise ValueError('bad \\ud800 char')", "ValueError", "bad \\ud800 char"},
        {"raise ValueError('a\\0b')", "ValueError", "a\\x00b"},
        {"e = ValueError('x'); e.__notes__ = 5\nraise e", "ValueError", "x"},
        {"raise StopIteration(3)", "StopIteration", "3"},
        {"raise GeneratorExit", "GeneratorExit", ""},
        {"raise KeyboardInterrupt", "KeyboardInterrupt", ""},
        {"def f(): f()\nf()", "RecursionError", "maximum recursion depth exceeded"},
    };
    open_session();
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_EQ_INT(run(rows[i].code), ERROR);
        if (result.done == NULL) {
            (void)fprintf(stderr, "lost the session at row %u\n", i);
            break;
        }
        CHECK_STR(result.done->exc_type, rows[i].type);
        CHECK_STR(result.done->exc_message, rows[i].message);
        CHECK(strlen(result.done->traceback) > 0);
    }
    CHECK_EQ_INT(run("raise ValueError('A' * (20 << 20))"), ERROR);
    CHECK(strlen(result.done->traceback) <= (1u << 20) + 100);
    CHECK(contains(result.done->traceback, "characters cut"));
    close_session();
}

/* User code that breaks what a report made in Python would stand on. */
static void test_hostile_interpreter(void)
{
    static const char *const codes[] = {
        "import sys\nfor m in list(sys.modules):\n"
        "  if m not in ('sys', 'builtins'): sys.modules[m] = None\n1/0",
        "import builtins\n"
        "builtins.compile = builtins.open = builtins.repr = builtins.isinstance = None\n1/0",
        "import traceback\ntraceback.TracebackException = traceback.format_exception = None\n1/0",
        "import sys\nsys.excepthook = None\n1/0",
        "import sys\n"
        "def h(*a): raise RuntimeError\n"
        "sys.addaudithook(h)\n1/0",
        "import codecs\ncodecs.register_error('strict', lambda e: ('', e.end))\n1/0",
        "import os, sys\nsys.exit = os._exit = None\nos.write = lambda *a: 0\n1/0",
        "import sys\nsys.setrecursionlimit(60)\n1/0",
    };
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        open_session();
        CHECK_EQ_INT(run(codes[i]), ERROR);
        if (result.done != NULL) {
            CHECK_STR(result.done->exc_type, "ZeroDivisionError");
            CHECK(contains(result.done->traceback, "ZeroDivisionError: division by zero\n"));
        }
        close_session();
    }
}

int main(void)
{
    if (fixture_begin() < 0) {
        return 1;
    }
    RUN(test_exit_status);
    RUN(test_crash_keeps_its_output);
    RUN(test_session_ends_with_its_socket);
    RUN(test_exception_report);
    RUN(test_syntax_errors);
    RUN(test_deep_sources);
    RUN(test_hostile_exceptions);
    RUN(test_hostile_interpreter);
    return fixture_end(check_done());
}
