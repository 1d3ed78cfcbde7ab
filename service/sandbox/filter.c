/* filter.c: the seccomp filter of profile `standard`: a list of what is refused.
 *
 * A deny list, for sessions run any library: an unknown call must behave as on this kernel. Refused
 * calls fail with an errno that programs know how to take, never with a kill: an agent's code that
 * tries `mount` shall see PermissionError, not a dead session. The one kill is for calls of another
 * architecture (int 0x80, x32), which would walk around the list; libseccomp does that by itself. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "service/base/fd.h"
#include "service/sandbox/steps.h"

#define LOW_32 0xffffffffu /* the kernel ignores the upper half of an int argument */

const char *const sbx_refused_calls[] = {
    /* namespaces and the mount tree */
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
    /* looking into other processes */
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    /* large kernel surfaces with a history */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "vmsplice", "memfd_secret", "fanotify_init", "lookup_dcookie",
    "nfsservctl", "modify_ldt", "iopl", "ioperm", "personality",
    /* keyrings are shared by all processes of a user */
    "keyctl", "add_key", "request_key",
    /* the machine's own state */
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
    "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "clock_settime", "settimeofday",
    "adjtimex", "clock_adjtime", "sethostname", "setdomainname", "syslog", "vhangup",
    /* files by handle pass every path check */
    "open_by_handle_at", "name_to_handle_at",
    /* memory of other processes' nodes; a NUMA library falls back */
    "set_mempolicy", "mbind", "move_pages", "migrate_pages", NULL};

static const uint64_t namespace_flags[] = {CLONE_NEWNS,    CLONE_NEWUTS, CLONE_NEWIPC,
                                           CLONE_NEWUSER,  CLONE_NEWPID, CLONE_NEWNET,
                                           CLONE_NEWCGROUP};

static int refuse_calls(scmp_filter_ctx ctx)
{
    for (unsigned i = 0; sbx_refused_calls[i] != NULL; i++) {
        int nr = seccomp_syscall_resolve_name(sbx_refused_calls[i]);
        if (nr == __NR_SCMP_ERROR) {
            continue; /* newer than this libseccomp; a test watches the list for typing errors */
        }
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* clone3 hides its flags in memory, which a filter can't read: glibc takes ENOSYS as a kernel
 * without it and uses clone, whose flags are an argument. */
static int refuse_namespaces(scmp_filter_ctx ctx)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (unsigned i = 0; rc == 0 && i < sizeof namespace_flags / sizeof *namespace_flags; i++) {
        uint64_t flag = namespace_flags[i];
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
    }
    return rc;
}

/* Only Unix and internet sockets: the others are ways around networks (vsock, netlink, raw
 * packets) or rarely used kernel code. A family is an int: larger values are refused as well. */
static int refuse_families(scmp_filter_ctx ctx, int call)
{
    uint32_t act = SCMP_ACT_ERRNO(EAFNOSUPPORT);
    int rc = seccomp_rule_add(ctx, act, call, 1, SCMP_A0(SCMP_CMP_GT, AF_INET6, 0));
    for (unsigned family = AF_INET + 1; rc == 0 && family < AF_INET6; family++) {
        rc = seccomp_rule_add(ctx, act, call, 1, SCMP_A0(SCMP_CMP_EQ, family, 0));
    }
    return rc;
}

/* Typing into a terminal that someone else reads; leases and directory signals, by which one
 * process stops or spies on another's files. */
static int refuse_commands(scmp_filter_ctx ctx)
{
    static const uint64_t ioctls[] = {TIOCSTI, TIOCLINUX};
    static const uint64_t fcntls[] = {F_SETLEASE, F_NOTIFY};
    uint32_t act = SCMP_ACT_ERRNO(EPERM);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < 2; i++) {
        rc = seccomp_rule_add(ctx, act, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_32, ioctls[i]));
        if (rc == 0) {
            rc = seccomp_rule_add(ctx, act, SCMP_SYS(fcntl), 1,
                                  SCMP_A1(SCMP_CMP_MASKED_EQ, LOW_32, fcntls[i]));
        }
    }
    return rc;
}

/* A session must not put itself between a child and the kernel: the listener's answers would be
 * believed by whoever supervises the child. */
static int refuse_listener(scmp_filter_ctx ctx)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(seccomp), 2,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, LOW_32, SECCOMP_SET_MODE_FILTER),
                            SCMP_A1(SCMP_CMP_MASKED_EQ, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                                    SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

static int build(scmp_filter_ctx ctx)
{
    int rc = refuse_calls(ctx);
    rc = rc < 0 ? rc : refuse_namespaces(ctx);
    rc = rc < 0 ? rc : refuse_families(ctx, SCMP_SYS(socket));
    rc = rc < 0 ? rc : refuse_families(ctx, SCMP_SYS(socketpair));
    rc = rc < 0 ? rc : refuse_commands(ctx);
    return rc < 0 ? rc : refuse_listener(ctx);
}

static int export(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
    struct stat st;
    FD_AUTO int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = seccomp_export_bpf(ctx, fd);
    if (rc < 0) {
        return rc;
    }
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    size_t count = (size_t)st.st_size / sizeof(struct sock_filter);
    if (count == 0 || count > BPF_MAXINSNS) {
        return -E2BIG;
    }
    struct sock_filter *code = malloc(count * sizeof *code);
    if (code == NULL) {
        return -ENOMEM;
    }
    if (pread(fd, code, count * sizeof *code, 0) != (ssize_t)(count * sizeof *code)) {
        free(code);
        return -EIO;
    }
    *ret = (struct sock_fprog){.len = (unsigned short)count, .filter = code};
    return 0;
}

int sbx_filter_compile(struct sock_fprog *ret, struct err *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (ctx == NULL) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the system-call filter");
    }
    int rc = build(ctx);
    rc = rc < 0 ? rc : export(ctx, ret);
    seccomp_release(ctx);
    if (rc < 0) {
        return err_sys(err, ERR_INTERNAL, -rc, "seccomp", "the system-call filter can't be built");
    }
    return 0;
}

bool sbx_seccomp_available(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 &&
           syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int sbx_seccomp(const struct sbx_plan *plan)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &plan->filter) < 0 ? -errno : 0;
}
