#include <stdlib.h>
#include <string.h>

#include "service/sandbox/steps.h"

int sbx_profile_parse(const char *name, enum sbx_profile *ret_profile, struct err *err)
{
    if (strcmp(name, "none") == 0) {
        *ret_profile = SBX_NONE;
    } else if (strcmp(name, "standard") == 0) {
        *ret_profile = SBX_STANDARD;
    } else {
        return err_field(err, "profile", "there is no profile \"%.40s\": none or standard", name);
    }
    return 0;
}

void sbx_facts_read(struct sbx_facts *ret_facts)
{
    *ret_facts = (struct sbx_facts){
        .can_set_pcap = sbx_has_setpcap(),
        .bounding_empty = sbx_bounding_is_empty(),
        .securebits_locked = sbx_securebits_are_locked(),
        .has_seccomp = sbx_seccomp_available(),
    };
}

int sbx_plan_make(enum sbx_profile profile, const struct sbx_limits *limits,
                  const struct sbx_facts *facts, bool required, struct sbx_plan *ret_plan,
                  struct err *err)
{
    struct sbx_plan plan = {.profile = profile, .limits = *limits};
    for (unsigned i = 0; i < sbx_step_count; i++) {
        const struct sbx_step *step = &sbx_steps[i];
        if (step->standard_only && profile != SBX_STANDARD) {
            continue;
        }
        const char *reason = step->lacks != NULL ? step->lacks(facts) : NULL;
        if (reason == NULL) {
            plan.steps[plan.step_count++] = step;
            continue;
        }
        if (required) {
            return err_set(err, ERR_INTERNAL, "confinement step %s is required and missing: %s",
                           step->name, reason);
        }
        plan.missing[plan.missing_count++] = (struct sbx_missing){step->name, reason};
    }
    *ret_plan = plan;
    return 0;
}

bool sbx_plan_has(const struct sbx_plan *plan, const char *name)
{
    for (unsigned i = 0; i < plan->step_count; i++) {
        if (strcmp(plan->steps[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

int sbx_prepare(struct sbx_plan *plan, struct err *err)
{
    return sbx_plan_has(plan, "seccomp") ? sbx_filter_compile(&plan->filter, err) : 0;
}

void sbx_plan_release(struct sbx_plan *plan)
{
    free(plan->filter.filter);
    plan->filter = (struct sock_fprog){0};
}
