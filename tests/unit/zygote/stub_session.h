/* stub_session.h: sessions without Python. The zygote under test links these instead of pyembed and
 * child: a session is a process that obeys one-byte commands on its control socket. */
#ifndef PYEXEC_TESTS_UNIT_ZYGOTE_STUB_SESSION_H
#define PYEXEC_TESTS_UNIT_ZYGOTE_STUB_SESSION_H

enum stub_command {
    STUB_EXIT = 'e',    /* _exit(7) */
    STUB_KILL = 'k',    /* SIGKILL to itself */
    STUB_DAEMON = 'd',  /* leaves a double-forked daemon in a kernel session of its own */
    STUB_STOPPED = 's', /* leaves a descendant that has stopped itself */
    STUB_BOMB = 'b',    /* leaves a fork bomb that is still growing */
    STUB_RESPAWN = 'r', /* leaves a process that forks its successor and exits, again and again */
    STUB_ESCAPE = 'u',  /* stops being a subreaper first: the daemon is the zygote's at once */
    STUB_BRANCH = 'n',  /* forks a branch; answers its pid, four bytes */
    STUB_BRANCH_DIES = 'N', /* the same, and the branch exits with 9 at once */
    STUB_FACTS = 'q',       /* answers struct stub_facts */
};

/* Processes of a sanitizer's build are slow to fork and slow to die. */
#ifdef __SANITIZE_ADDRESS__
#define STUB_BOMB_FORKS 200
#else
#define STUB_BOMB_FORKS 600
#endif
#define STUB_READY 'R'
#define STUB_DONE 'D' /* answer to all commands but those that end the session */

struct stub_facts {
    char interrupt_blocked;
    char terminate_blocked;
    char pipe_ignored;
    char interrupt_default;
    char descriptors;
    char capabilities; /* some are left */
    char no_new_privs;
    char oom_score_raised;
    char warm_up;
    char secret_seen; /* an environment variable of the daemon's */
};

#endif
