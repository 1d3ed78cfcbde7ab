/* Sessions as the daemon sees them: what code finds, and what it leaves. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/support/check.h"
#include "tests/unit/child/fixture.h"

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
    CHECK_PRINTED("linecache.checkcache()\nprint(inspect.getsource(f), end='')",
                  "def f():\n    return 1 / 0\n");
    CHECK_PRINTED("linecache.clearcache()\nprint(inspect.getsource(f), end='')",
                  "def f():\n    return 1 / 0\n");
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
    if (fixture_begin() < 0) {
        return 1;
    }
    RUN(test_variables_live_on);
    RUN(test_last_expression_is_the_value);
    RUN(test_main_is_a_real_module);
    RUN(test_sources_are_known);
    RUN(test_chdir_and_deleted_directory);
    RUN(test_forked_child_never_reports);
    RUN(test_multiprocessing);
    RUN(test_wrapped_functions_look_the_same);
    RUN(test_descendants_are_told);
    RUN(test_background_output);
    RUN(test_displays);
    RUN(test_files_and_environment);
    RUN(test_sessions_start_clean);
    RUN(test_generators_differ);
    RUN(test_branch);
    RUN(test_branch_names_what_it_loses);
    return fixture_end(check_done());
}
