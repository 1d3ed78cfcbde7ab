/* The steps in force: what a confined process can't do any more, what it still can, and that a step
 * that fails is named. Each test confines a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/sandbox/steps.h"
#include "tests/support/check.h"

#define NOBODY 65534

static struct sbx_limits limits;

/* In the child: the whole way a session goes. */
static const char *confine(enum sbx_profile profile)
{
    struct err err = {0};
    struct sbx_facts facts;
    static struct sbx_plan plan;
    int failed = 0;
    sbx_facts_read(&facts);
    if (sbx_plan_make(profile, &limits, &facts, false, &plan, &err) < 0 ||
        sbx_prepare(&plan, &err) < 0) {
        return "plan";
    }
    const char *step = sbx_apply(&plan, SBX_IN_ZYGOTE, &failed);
    return step != NULL ? step : sbx_apply(&plan, SBX_IN_SESSION, &failed);
}

static void in_child(void (*body)(void), enum sbx_profile profile)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        const char *step = confine(profile);
        if (step != NULL) {
            (void)fprintf(stderr, "step %s failed\n", step);
            _exit(2);
        }
        check_failures = 0;
        body();
        _exit(check_failures != 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ_INT(status, 0);
}

#define REFUSED(call, why)        \
    do {                          \
        errno = 0;                \
        CHECK((call) == -1);      \
        CHECK_EQ_INT(errno, why); \
    } while (0)

static void refused_calls(void)
{
    REFUSED(unshare(CLONE_NEWUSER), EPERM);
    REFUSED(unshare(CLONE_FILES), EPERM);
    REFUSED(setns(0, 0), EPERM);
    REFUSED(mount("none", "/mnt", "tmpfs", 0, NULL), EPERM);
    REFUSED(umount2("/mnt", 0), EPERM);
    REFUSED(chroot("/"), EPERM);
    REFUSED(ptrace(PTRACE_TRACEME, 0, NULL, NULL), EPERM);
    REFUSED(syscall(SYS_bpf, 0, NULL, 0), EPERM);
    REFUSED(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
    REFUSED(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1), EPERM);
    REFUSED(syscall(SYS_userfaultfd, 0), EPERM);
    REFUSED(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0), EPERM);
    REFUSED(syscall(SYS_clone3, NULL, 0), ENOSYS);
    REFUSED(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL), EPERM);
    REFUSED(syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL),
            EPERM);
    REFUSED(ioctl(0, TIOCSTI, "x"), EPERM);
    REFUSED(syscall(SYS_ioctl, 0, 0x100000000u | TIOCSTI, "x"), EPERM);
    REFUSED(fcntl(0, F_NOTIFY, 0), EPERM);
    REFUSED(syscall(SYS_seccomp, 1 /* filter */, 1u << 3 /* new listener */, NULL), EPERM);
}

static void refused_families(void)
{
    for (int family = 0; family < 64; family++) {
        bool allowed = family == AF_UNIX || family == AF_INET || family == AF_INET6;
        errno = 0;
        int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (!allowed) {
            CHECK_EQ_INT(fd, -1);
            CHECK_EQ_INT(errno, EAFNOSUPPORT);
        } else if (family != AF_INET6) {
            CHECK(fd >= 0); /* a machine may lack IPv6 */
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    REFUSED(syscall(SYS_socket, 0x100000000u | AF_NETLINK, SOCK_RAW, 0), EAFNOSUPPORT);
}

static int on_own_stack(void *arg)
{
    return *(int *)arg;
}

static void *thread(void *arg)
{
    return arg;
}

static void allowed_calls(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    int status = 0;
    int number = 7;
    int pair[2];
    void *result = NULL;
    pthread_t t;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(7);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ_INT(WEXITSTATUS(status), 7);
    /* What a branch does first. */
    pid = clone(on_own_stack, stack + sizeof stack, CLONE_VM | CLONE_VFORK, &number);
    CHECK(pid > 0 && waitpid(pid, &status, __WCLONE) == pid);
    CHECK_EQ_INT(WEXITSTATUS(status), 7);
    CHECK_EQ_INT(pthread_create(&t, NULL, thread, &number), 0);
    CHECK_EQ_INT(pthread_join(t, &result), 0);
    CHECK(result == &number);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK_EQ_INT(system("exit 3"), 3 << 8);
    int more = 1;
    CHECK(ioctl(pair[0], FIONREAD, &more) == 0);
}

static void no_privileges(void)
{
    cap_t now = cap_get_proc();
    cap_t none = cap_init();
    CHECK_EQ_INT(cap_compare(now, none), 0);
    CHECK_EQ_INT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    (void)cap_free(now);
    (void)cap_free(none);
    if (geteuid() == 0) {
        CHECK(sbx_bounding_is_empty());
        CHECK(sbx_securebits_are_locked());
        REFUSED(setuid(NOBODY), EPERM);
        /* A program started by uid 0 gets none back. */
        CHECK_EQ_INT(system("grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status"), 0);
    }
}

static void limits_in_force(void)
{
    struct rlimit l;
    CHECK(getrlimit(RLIMIT_CORE, &l) == 0 && l.rlim_max <= 1);
    CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
    CHECK(l.rlim_cur <= 1024 && l.rlim_max <= 65536);
    CHECK(getrlimit(RLIMIT_MEMLOCK, &l) == 0 && l.rlim_max <= 8u << 20);
    CHECK(getrlimit(RLIMIT_SIGPENDING, &l) == 0 && l.rlim_max <= 16384);
    CHECK(getrlimit(RLIMIT_MSGQUEUE, &l) == 0 && l.rlim_max <= 800u << 10);
}

static void chosen_limits_in_force(void)
{
    struct rlimit l;
    CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == 100 && l.rlim_max == 100);
    CHECK(getrlimit(RLIMIT_FSIZE, &l) == 0 && l.rlim_max == 1000);
    CHECK(getrlimit(RLIMIT_CPU, &l) == 0 && l.rlim_max == 60);
}

static void oom_score_is_raised(void)
{
    char text[16] = {0};
    int fd = open("/proc/self/oom_score_adj", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    CHECK(atoi(text) >= 500);
}

static void test_standard_refuses(void)
{
    in_child(refused_calls, SBX_STANDARD);
    in_child(refused_families, SBX_STANDARD);
}

static void test_standard_allows(void)
{
    in_child(allowed_calls, SBX_STANDARD);
}

static void test_standard_has_no_privileges(void)
{
    in_child(no_privileges, SBX_STANDARD);
}

static void test_limits(void)
{
    in_child(limits_in_force, SBX_STANDARD);
    in_child(limits_in_force, SBX_NONE);
    in_child(oom_score_is_raised, SBX_NONE);
    limits = (struct sbx_limits){.open_files = 100, .file_size_bytes = 1000, .cpu_seconds = 60};
    in_child(chosen_limits_in_force, SBX_STANDARD);
    limits = (struct sbx_limits){0};
}

static void test_none_leaves_calls_alone(void)
{
    in_child(allowed_calls, SBX_NONE);
}

/* int 0x80 has other numbers: it must not lead around the list. */
static void test_other_architectures_are_killed(void)
{
#if defined(__x86_64__)
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        long result = 20; /* getpid of i386 */
        if (confine(SBX_STANDARD) != NULL) {
            _exit(2);
        }
        __asm__ volatile("int $0x80" : "+a"(result));
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV));
#endif
}

/* Somebody undid a step: verify stops the session. */
static void test_verify_fails_closed(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        struct sbx_plan plan;
        struct sbx_facts facts = {.can_set_pcap = true, .has_seccomp = true};
        int failed = 0;
        (void)sbx_plan_make(SBX_STANDARD, &limits, &facts, true, &plan, &err);
        const char *step = sbx_apply(&plan, SBX_IN_SESSION, &failed);
        _exit(step != NULL && strcmp(step, "verify") == 0 && failed == EPERM ? 0 : 1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ_INT(status, 0);
}

/* A typing error in the list would refuse nothing. */
static void test_every_refused_name_is_known(void)
{
    for (unsigned i = 0; sbx_refused_calls[i] != NULL; i++) {
        if (seccomp_syscall_resolve_name(sbx_refused_calls[i]) == __NR_SCMP_ERROR) {
            (void)fprintf(stderr, "%s\n", sbx_refused_calls[i]);
            CHECK(false);
        }
    }
}

static int run_all(void)
{
    RUN(test_standard_refuses);
    RUN(test_standard_allows);
    RUN(test_standard_has_no_privileges);
    RUN(test_limits);
    RUN(test_none_leaves_calls_alone);
    RUN(test_other_architectures_are_killed);
    RUN(test_verify_fails_closed);
    RUN(test_every_refused_name_is_known);
    return check_done();
}

static void test_all_as_an_ordinary_user(void)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        bool dropped = setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                       setresuid(NOBODY, NOBODY, NOBODY) == 0;
        /* Changing the user made /proc/self root's. */
        if (!dropped || prctl(PR_SET_DUMPABLE, 1) < 0) {
            _exit(2);
        }
        check_failed_tests = check_run_tests = 0;
        exit(run_all());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ_INT(status, 0);
}

int main(void)
{
    int failed = run_all();
    if (geteuid() == 0) {
        RUN(test_all_as_an_ordinary_user);
        failed = check_done();
    }
    return failed;
}
