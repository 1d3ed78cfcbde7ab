/* Sessions as the daemon sees them: real forked processes that speak their frames. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/check.h"
#include "tests/unit/child/driver.h"

#define OK PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_OK
#define ERROR PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_ERROR
#define EXITED PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_EXITED
#define INTERRUPTED PYEXEC__INTERNAL__SESSION_DONE__OUTCOME__OUTCOME_INTERRUPTED

static char directory[] = "/tmp/pyexec-child-XXXXXX";
static struct driver session;
static struct driver_result result;

static void open_session(void)
{
    CHECK(driver_start(&session, directory) == 0);
}

static void close_session(void)
{
    driver_result_release(&result);
    memset(&result, 0, sizeof result);
    driver_release(&session);
}

/* One more run; the outcome, or -1 when the session is gone. */
static int run_spec(const struct driver_spec *spec)
{
    driver_result_release(&result);
    driver_run(&session, spec, &result);
    return result.done == NULL ? -1 : (int)result.done->outcome;
}

static int run(const char *code)
{
    return run_spec(&(struct driver_spec){.code = code});
}

static const char *text(const struct buf *b)
{
    return b->data == NULL ? "" : (const char *)b->data;
}

#define CHECK_PRINTED(code, want)            \
    do {                                     \
        CHECK_EQ_INT(run(code), OK);         \
        CHECK_STR(text(&result.both), want); \
    } while (0)

static bool contains(const char *s, const char *part)
{
    return s != NULL && strstr(s, part) != NULL;
}

static const char *value_text(void)
{
    static char copy[256];
    copy[0] = '\0';
    const Pyexec__V1__MimeBundle *b = result.done == NULL ? NULL : result.done->value;
    if (b != NULL && b->n_parts > 0) {
        const ProtobufCBinaryData *data = &b->parts[b->n_parts - 1]->data;
        (void)snprintf(copy, sizeof copy, "%.*s", (int)data->len, (const char *)data->data);
    }
    return copy;
}

static bool warned(const char *part)
{
    for (size_t i = 0; result.done != NULL && i < result.done->n_warnings; i++) {
        if (contains(result.done->warnings[i], part)) {
            return true;
        }
    }
    return false;
}

/* --- namespace and values ------------------------------------------------------------------------- */

static void test_variables_live_on(void)
{
    open_session();
    CHECK_EQ_INT(run("x = 41"), OK);
    CHECK(result.done->value == NULL);
    CHECK_PRINTED("print(x + 1)", "42\n");
    close_session();
}

static void test_last_expression_is_the_value(void)
{
    open_session();
    CHECK_EQ_INT(run("a = 6\na * 7"), OK);
    CHECK_STR(value_text(), "42");
    CHECK(result.reporting);
    CHECK_EQ_INT(run("_"), OK);
    CHECK_STR(value_text(), "42");
    CHECK_EQ_INT(run("None"), OK);
    CHECK(result.done->value == NULL);
    CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = "1", .silent = true}), OK);
    CHECK(result.done->value == NULL);
    CHECK_EQ_INT(run("from __future__ import annotations\ndef f(x: Nowhere): 0\nf.__annotations__"),
                 OK);
    CHECK_STR(value_text(), "{'x': 'Nowhere'}");
    close_session();
}

static void test_main_is_a_real_module(void)
{
    open_session();
    CHECK_PRINTED("import pickle, sys, dataclasses\n"
                  "@dataclasses.dataclass\n"
                  "class D:\n    x: int\n"
                  "if __name__ == '__main__':\n"
                  "    print(pickle.loads(pickle.dumps(D(3))), sys.modules['__main__'].D is D)\n",
                  "D(x=3) True\n");
    CHECK_PRINTED("import os\nprint(os.path.basename(__file__), sys.argv)",
                  "runfile.py ['runfile.py']\n");
    CHECK_EQ_INT(run("sys._getframe(1)"), ERROR);
    CHECK_STR(result.done->exc_message, "call stack is not deep enough");
    close_session();
}

static void test_sources_are_known(void)
{
    open_session();
    CHECK_PRINTED("import inspect, linecache\n"
                  "def f():\n    return 1 / 0\n"
                  "class A:\n    y = 1\n"
                  "linecache.checkcache()\n"
                  "print(inspect.getsource(f) + inspect.getsource(A), end='')",
                  "def f():\n    return 1 / 0\nclass A:\n    y = 1\n");
    /* A function of an earlier run keeps its own lines, although the file name is the same. */
    CHECK_EQ_INT(run("#\n#\n#\nf()"), ERROR);
    CHECK_STR(result.done->traceback, "Traceback (most recent call last):\n"
                                      "  File \"runfile.py\", line 4, in <module>\n"
                                      "    f()\n"
                                      "  File \"runfile.py\", line 3, in f\n"
                                      "    return 1 / 0\n"
                                      "           ~~^~~\n"
                                      "ZeroDivisionError: division by zero\n");
    CHECK_EQ_INT(result.done->n_frames, 2);
    CHECK_STR(result.done->frames[1]->source_line, "return 1 / 0");
    close_session();
}

/* seed row: `os.chdir` in user code never breaks the session. */
static void test_chdir_and_deleted_directory(void)
{
    open_session();
    CHECK_EQ_INT(run("import os\nos.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"), OK);
    CHECK_EQ_INT(run("print(os.path.samefile('.', os.path.dirname(__file__)))"), OK);
    CHECK_STR(text(&result.both), "True\n");
    close_session();
}

/* --- output ---------------------------------------------------------------------------------------- */

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
    for (int seed = 0; seed < 20; seed++) {
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

/* --- processes and threads -------------------------------------------------------------------------- */

static void test_forked_child_never_reports(void)
{
    open_session();
    CHECK_PRINTED("import os, sys\n"
                  "pid = os.fork()\n"
                  "if pid == 0: 1 / 0\n"
                  "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)",
                  "Traceback (most recent call last):\n"
                  "  File \"runfile.py\", line 3, in <module>\n"
                  "ZeroDivisionError: division by zero\n"
                  "1\n");
    CHECK_PRINTED("pid = os.fork()\n"
                  "if pid == 0: sys.exit(7)\n"
                  "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))",
                  "7\n");
    CHECK(!result.done->descendants);
    close_session();
}

static void test_multiprocessing(void)
{
    open_session();
    CHECK_PRINTED("import multiprocessing as mp\n"
                  "with mp.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, -2]))",
                  "[1, 2]\n");
    CHECK_PRINTED("with mp.get_context('spawn').Pool(1) as p: print(p.map(abs, [-3]))", "[3]\n");
    CHECK_PRINTED("import subprocess, sys\n"
                  "print(subprocess.run([sys.executable, '-c', 'import sys; print(sys.version)'],\n"
                  "      capture_output=True, text=True).stdout.strip() == sys.version)",
                  "True\n");
    close_session();
}

static void test_wrapped_functions_look_the_same(void)
{
    open_session();
    CHECK_PRINTED(
        "import inspect, os, pickle, posix\n"
        "print(os.write is posix.write, pickle.loads(pickle.dumps(os.write)) is os.write,\n"
        "      os.write, inspect.signature(os.write), os.fork.__doc__ is not None)",
        "True True <built-in function write> (fd, data, /) True\n");
    CHECK_EQ_INT(run("os.write('x')"), ERROR);
    CHECK_STR(result.done->exc_type, "TypeError");
    close_session();
}

static void test_descendants_are_told(void)
{
    open_session();
    CHECK_EQ_INT(run("import os\nr, w = os.pipe()\n"
                     "if os.fork() == 0:\n"
                     "    os.setsid()\n"
                     "    if os.fork() == 0:\n"
                     "        os.close(w); os.read(r, 1)\n"
                     "    os._exit(0)\n"
                     "pid = os.wait()[0]"),
                 OK);
    CHECK(result.done->descendants);
    CHECK_EQ_INT(run("os.close(w)\n"
                     "while True:\n"
                     "    try: os.wait()\n"
                     "    except ChildProcessError: break"),
                 OK);
    CHECK(!result.done->descendants);
    close_session();
}

static void test_background_output(void)
{
    open_session();
    CHECK_EQ_INT(run("import threading\n"
                     "go, done = threading.Event(), threading.Event()\n"
                     "def late():\n"
                     "    go.wait(); print('late'); done.set()\n"
                     "threading.Thread(target=late).start()\n"
                     "print('first')"),
                 OK);
    CHECK_STR(text(&result.both), "first\n");
    CHECK(warned("threads are still running"));
    CHECK_PRINTED("go.set(); done.wait()\n"
                  "t = threading.Thread(target=lambda: print('own')); t.start(); t.join()",
                  "own\n");
    CHECK_STR(text(&result.background), "late\n");
    close_session();
}

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

/* --- interrupts ----------------------------------------------------------------------------------------- */

static void test_interrupts(void)
{
    static const char *const codes[] = {
        "print('ready')\nwhile True: pass",
        "import time\nprint('ready')\ntime.sleep(1000)",
        "import asyncio\nasync def f():\n  print('ready'); await asyncio.sleep(1000)\n"
        "asyncio.run(f())",
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('ready')\nwhile True: pass",
        "class R:\n  def __repr__(s):\n    print('ready')\n    while True: pass\nR()",
        "import threading\nprint('ready')\nthreading.Event().wait()",
    };
    open_session();
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = codes[i], .interrupt_on = "ready"}),
                     INTERRUPTED);
        CHECK(result.done != NULL && strcmp(result.done->exc_type, "KeyboardInterrupt") == 0);
        CHECK_PRINTED("print('next')", "next\n");
    }
    close_session();
}

/* One that comes between two runs hits nothing. */
static void test_late_interrupt(void)
{
    open_session();
    CHECK_PRINTED("print(1)", "1\n");
    (void)kill(session.pid, SIGINT);
    CHECK_PRINTED("print(2)", "2\n");
    CHECK_EQ_INT(run("import threading, time\n"
                     "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"),
                 OK);
    (void)kill(session.pid, SIGINT); /* nor does a thread take it */
    CHECK_PRINTED("time.sleep(0.01); print(3)", "3\n");
    close_session();
}

static void test_interrupted_report(void)
{
    open_session();
    CHECK_EQ_INT(run_spec(&(struct driver_spec){
                     .code = "class X(Exception):\n  def __str__(s):\n    print('ready')\n"
                             "    while True: pass\nraise X",
                     .interrupt_on = "ready"}),
                 ERROR);
    CHECK(result.done != NULL && strcmp(result.done->exc_type, "X") == 0);
    CHECK(warned("interrupted"));
    close_session();
}

static void test_masked_interrupt_stays_masked(void)
{
    open_session();
    CHECK_PRINTED("import signal\n"
                  "m = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); print(m)",
                  "set()\n");
    CHECK_PRINTED("print(signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT]))",
                  "{<Signals.SIGINT: 2>}\n");
    CHECK_PRINTED("print(signal.pthread_sigmask(signal.SIG_BLOCK, []))", "set()\n");
    close_session();
}

/* --- standard input ----------------------------------------------------------------------------------------- */

static void test_input(void)
{
    open_session();
    CHECK_EQ_INT(run("input('p> ')"), ERROR);
    CHECK_STR(result.done->exc_type, "EOFError");
    CHECK_EQ_INT(
        run_spec(&(struct driver_spec){.code = "import sys\nprint(input('p> '), sys.stdin.read())",
                                       .input = "one\ntwo"}),
        OK);
    CHECK_STR(text(&result.both), "p> one two\n");
    CHECK_EQ_INT(run_spec(&(struct driver_spec){
                     .code = "import getpass\nprint(input('p> ') + getpass.getpass('q> '))",
                     .answer = "x\n"}),
                 OK);
    CHECK_STR(text(&result.asked), "p> \nq> \n");
    CHECK(result.password);
    CHECK_EQ_INT(
        run_spec(&(struct driver_spec){.code = "import subprocess\n"
                                               "n = subprocess.run(['/bin/cat']).returncode",
                                       .input = "to cat"}),
        OK);
    CHECK_STR(text(&result.both), "to cat");
    close_session();
}

static void test_interrupted_input(void)
{
    open_session();
    for (int i = 0; i < 20; i++) {
        CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = "input()",
                                                    .wait_for_input = true,
                                                    .interrupt_on = "nothing printed"}),
                     INTERRUPTED);
    }
    close_session();
}

/* --- the rest ------------------------------------------------------------------------------------------------- */

static void test_displays(void)
{
    open_session();
    CHECK_EQ_INT(run("class H:\n"
                     "  def _repr_html_(s): return '<b>'\n"
                     "  def __repr__(s): return 'H'\n"
                     "display(H()); clear_output(); display({'text/plain': 'raw'}, raw=True)"),
                 OK);
    CHECK_STR(text(&result.shown), "text/html=<b>;text/plain=H;clear;text/plain=raw;");
    CHECK_EQ_INT(run("class B:\n  def __repr__(s): return 1 / 0\nB()"), OK);
    CHECK_STR(value_text(), "<B object: repr() failed>");
    CHECK(warned("repr() of a B failed"));
    CHECK_EQ_INT(run("display({'image/png': b'x' * (2 << 20), 'text/plain': 'p'}, raw=True)"), OK);
    CHECK_STR(text(&result.shown), "text/plain=p;");
    CHECK(warned("image/png"));
    close_session();
}

static void test_files_and_environment(void)
{
    open_session();
    CHECK_EQ_INT(run_spec(&(struct driver_spec){
                     .code = "import os\nprint(open('runfile.py').readline(), os.environ['V'])\n"
                             "os.mkdir('d'); n = open('d/new', 'w').write('12345')\nos.chdir('/')",
                     .write_source = true,
                     .changed_files = true,
                     .env_name = "V",
                     .env_value = "here"}),
                 OK);
    CHECK_STR(text(&result.both), "import os\n here\n");
    CHECK_EQ_INT(result.done->n_changed_files, 1);
    if (result.done->n_changed_files == 1) {
        CHECK_STR(result.done->changed_files[0]->path, "d/new");
        CHECK_EQ_INT(result.done->changed_files[0]->size_bytes, 5);
    }
    CHECK_PRINTED("print(os.path.exists('runfile.py'), os.environ.get('V'))", "False None\n");
    CHECK_EQ_INT(
        run_spec(&(struct driver_spec){.code = "1", .filename = "../x.py", .write_source = true}),
        OK);
    CHECK(warned("not a plain file name"));
    close_session();
}

static void test_sessions_start_clean(void)
{
    open_session();
    CHECK_PRINTED(
        "import os, signal\n"
        "print(sorted(os.listdir('/proc/self/fd'), key=int)[:4], os.getsid(0) == os.getpid(),\n"
        "      signal.getsignal(signal.SIGINT) is signal.default_int_handler,\n"
        "      signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN)",
        "['0', '1', '2', '3'] True True True\n");
    CHECK_PRINTED("print(len(os.listdir('/proc/self/fd')))", "5\n"); /* one is listdir's own */
    close_session();
}

static void test_generators_differ(void)
{
    char first[64];
    open_session();
    CHECK_EQ_INT(run("import random\nprint(random.random())"), OK);
    (void)snprintf(first, sizeof first, "%s", text(&result.both));
    close_session();
    open_session();
    CHECK_EQ_INT(run("import random\nprint(random.random())"), OK);
    CHECK(strcmp(first, text(&result.both)) != 0);
    close_session();
}

static void test_branch(void)
{
    struct driver branch;
    char why[512];
    open_session();
    CHECK_EQ_INT(run("import os, random, socket\nx = 41; pid = os.getpid(); random.seed(1)\n"
                     "f = open('kept', 'w'); a, b = socket.socketpair()"),
                 OK);
    CHECK(driver_branch(&session, &branch, why, sizeof why) == 0);
    CHECK_STR(why, "");
    CHECK_PRINTED("x += 1\nprint(x, os.getpid() == pid)", "42 True\n");
    struct driver_result r;
    driver_run(
        &branch,
        &(struct driver_spec){.code = "print(x, os.getpid() == pid, f.write('y'), a.fileno() > 0)\n"
                                      "os.system('echo sub')\n"
                                      "try: os.wait()\n"
                                      "except ChildProcessError: print('no child')"},
        &r);
    CHECK(r.done != NULL && r.done->outcome == OK);
    CHECK_STR(text(&r.both), "41 False 1 True\nsub\nno child\n");
    driver_result_release(&r);
    CHECK_EQ_INT(run("os.wait()"), ERROR); /* nor is the branch a child of its session */
    CHECK_STR(result.done->exc_type, "ChildProcessError");
    close_session();
    int status = driver_stop(&branch); /* a child of this process, alive after its parent */
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    driver_release(&branch);
}

static void test_branch_names_what_it_loses(void)
{
    struct driver branch;
    char why[512];
    open_session();
    CHECK_EQ_INT(run("import threading\nstop = threading.Event()\n"
                     "threading.Thread(target=stop.wait, name='waiter').start()"),
                 OK);
    CHECK(driver_branch(&session, &branch, why, sizeof why) == 0);
    CHECK(contains(why, "waiter"));
    driver_release(&branch);
    close_session();
}

int main(void)
{
    if (mkdtemp(directory) == NULL || driver_prepare() < 0) {
        return 1;
    }
    RUN(test_variables_live_on);
    RUN(test_last_expression_is_the_value);
    RUN(test_main_is_a_real_module);
    RUN(test_sources_are_known);
    RUN(test_chdir_and_deleted_directory);
    RUN(test_every_byte_arrives);
    RUN(test_streams_are_real);
    RUN(test_streams_survive_their_user);
    RUN(test_non_blocking_pipe_loses_nothing);
    RUN(test_order_of_both_streams);
    RUN(test_c_code_has_its_place);
    RUN(test_forked_child_never_reports);
    RUN(test_multiprocessing);
    RUN(test_wrapped_functions_look_the_same);
    RUN(test_descendants_are_told);
    RUN(test_background_output);
    RUN(test_exit_status);
    RUN(test_crash_keeps_its_output);
    RUN(test_session_ends_with_its_socket);
    RUN(test_exception_report);
    RUN(test_syntax_errors);
    RUN(test_deep_sources);
    RUN(test_hostile_exceptions);
    RUN(test_hostile_interpreter);
    RUN(test_interrupts);
    RUN(test_late_interrupt);
    RUN(test_interrupted_report);
    RUN(test_masked_interrupt_stays_masked);
    RUN(test_input);
    RUN(test_interrupted_input);
    RUN(test_displays);
    RUN(test_files_and_environment);
    RUN(test_sessions_start_clean);
    RUN(test_generators_differ);
    RUN(test_branch);
    RUN(test_branch_names_what_it_loses);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command) != 0 || check_done();
}
