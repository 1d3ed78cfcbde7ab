/* Interrupts and standard input. */
#include <signal.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/unit/child/fixture.h"

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

/* None is lost between STARTED and the first instruction. */
static void test_earliest_interrupt(void)
{
    open_session();
    for (int i = 0; i < 100; i++) {
        CHECK_EQ_INT(run_spec(&(struct driver_spec){.code = "import time\ntime.sleep(1000)",
                                                    .interrupt_at_start = true}),
                     INTERRUPTED);
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

int main(void)
{
    if (fixture_begin() < 0) {
        return 1;
    }
    RUN(test_interrupts);
    RUN(test_earliest_interrupt);
    RUN(test_late_interrupt);
    RUN(test_interrupted_report);
    RUN(test_masked_interrupt_stays_masked);
    RUN(test_input);
    RUN(test_interrupted_input);
    return fixture_end(check_done());
}
