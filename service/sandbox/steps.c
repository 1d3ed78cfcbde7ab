/* steps.c: the confinement of a session, in the order in which it happens.
 *
 * Why this order. What a session inherits is done once in the zygote, after the preload (which may
 * need to read what only root reads) and before the first fork: the bounding set and securebits
 * need CAP_SETPCAP, so they go first; then the capabilities themselves, CAP_SETPCAP with them. The
 * zygote needs none for its own work: its sessions have its uid, so it may signal them, and what
 * it reads of /proc is readable by everyone. In the session the filter comes last, as it refuses what the
 * steps before it need.
 *
 * A new step is a row here and a function in steps.h. */
#include "service/sandbox/steps.h"

#include <errno.h>

static const char *lacks_bounding(const struct sbx_facts *f)
{
    return f->can_set_pcap || f->bounding_empty
               ? NULL
               : "the bounding set can be dropped only with CAP_SETPCAP";
}

static const char *lacks_securebits(const struct sbx_facts *f)
{
    return f->can_set_pcap || f->securebits_locked
               ? NULL
               : "securebits can be locked only with CAP_SETPCAP";
}

static const char *lacks_seccomp(const struct sbx_facts *f)
{
    return f->has_seccomp ? NULL : "this kernel has no seccomp filters";
}

const struct sbx_step sbx_steps[] = {
    /* --- once, in the zygote --- */
    {"no_new_privs", "a set-user-id program gives a session nothing", SBX_IN_ZYGOTE, false, NULL,
     sbx_no_new_privs},
    {"bounding_set", "no program started later can hold a capability", SBX_IN_ZYGOTE, true,
     lacks_bounding, sbx_bounding},
    {"securebits", "uid 0 means nothing, for good", SBX_IN_ZYGOTE, true, lacks_securebits,
     sbx_securebits},
    {"capabilities", "ambient, inheritable, permitted and effective are empty", SBX_IN_ZYGOTE, true,
     NULL, sbx_capabilities},
    /* --- in each session --- */
    {"oom_score", "when memory runs out a session goes before the service", SBX_IN_SESSION, false,
     NULL, sbx_oom_score},
    {"rlimits", "no core files; bounded descriptors, locked memory, queues and timers",
     SBX_IN_SESSION, false, NULL, sbx_rlimits},
    {"verify", "the process is what the steps above should have made it", SBX_IN_SESSION, true,
     NULL, sbx_verify},
    {"seccomp", "system calls that no snippet needs and that exploits do", SBX_IN_SESSION, true,
     lacks_seccomp, sbx_seccomp},
};
const unsigned sbx_step_count = sizeof sbx_steps / sizeof *sbx_steps;
_Static_assert(sizeof sbx_steps / sizeof *sbx_steps <= SBX_STEPS_MAX, "a plan has room for all");

const char *sbx_apply(const struct sbx_plan *plan, enum sbx_when when, int *ret_errno)
{
    for (unsigned i = 0; i < plan->step_count; i++) {
        const struct sbx_step *step = plan->steps[i];
        if (step->when != when) {
            continue;
        }
        int rc = step->apply(plan);
        if (rc < 0) {
            *ret_errno = -rc;
            return step->name;
        }
    }
    return NULL;
}
