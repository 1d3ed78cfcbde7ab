/* caps.c: privileges: none, and no way back to any. */
#include <errno.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "service/sandbox/steps.h"

/* Nothing is granted to uid 0 by exec or setuid, nothing is kept, nothing is raised as ambient, and
 * each of these is locked. */
#define SECUREBITS                                                                           \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |                         \
     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | \
     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

int sbx_no_new_privs(const struct sbx_plan *plan)
{
    (void)plan;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* The kernel may know capabilities that libcap does not, hence no list: up to the first that the
 * kernel doesn't know. */
int sbx_bounding(const struct sbx_plan *plan)
{
    (void)plan;
    for (int cap = 0;; cap++) {
        int bound = cap_get_bound(cap);
        if (bound < 0) {
            return cap == 0 ? -errno : 0;
        }
        if (bound > 0 && cap_drop_bound(cap) < 0) {
            return -errno;
        }
    }
}

bool sbx_bounding_is_empty(void)
{
    for (int cap = 0;; cap++) {
        int bound = cap_get_bound(cap);
        if (bound != 0) {
            return bound < 0 && cap > 0;
        }
    }
}

int sbx_securebits(const struct sbx_plan *plan)
{
    (void)plan;
    if (sbx_securebits_are_locked()) {
        return 0;
    }
    return cap_set_secbits(SECUREBITS) < 0 ? -errno : 0;
}

bool sbx_securebits_are_locked(void)
{
    return (cap_get_secbits() & SECUREBITS) == SECUREBITS;
}

int sbx_capabilities(const struct sbx_plan *plan)
{
    (void)plan;
    if (cap_reset_ambient() < 0) {
        return -errno;
    }
    cap_t none = cap_init();
    if (none == NULL) {
        return -ENOMEM;
    }
    int rc = cap_set_proc(none) < 0 ? -errno : 0;
    (void)cap_free(none);
    return rc;
}

bool sbx_has_setpcap(void)
{
    cap_t caps = cap_get_proc();
    cap_flag_value_t value = CAP_CLEAR;
    if (caps == NULL) {
        return false;
    }
    (void)cap_get_flag(caps, CAP_SETPCAP, CAP_EFFECTIVE, &value);
    (void)cap_free(caps);
    return value == CAP_SET;
}

/* Inherited state is checked, not believed: a library that the preload brought in may have meddled. */
int sbx_verify(const struct sbx_plan *plan)
{
    cap_t now = cap_get_proc();
    cap_t none = cap_init();
    int rc = now == NULL || none == NULL ? -ENOMEM : cap_compare(now, none) != 0 ? -EPERM : 0;
    (void)cap_free(now);
    (void)cap_free(none);
    if (rc == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        rc = -EPERM;
    }
    if (rc == 0 && sbx_plan_has(plan, "bounding_set") && !sbx_bounding_is_empty()) {
        rc = -EPERM;
    }
    if (rc == 0 && sbx_plan_has(plan, "securebits") && !sbx_securebits_are_locked()) {
        rc = -EPERM;
    }
    return rc;
}
