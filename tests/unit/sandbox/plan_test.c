/* The plan: which steps, in which order, and what is said to be missing. */
#include "service/sandbox/sandbox.h"
#include "tests/support/check.h"

static const struct sbx_facts root_facts = {.can_set_pcap = true, .has_seccomp = true};
static const struct sbx_facts user_facts = {.has_seccomp = true};
static const struct sbx_limits no_limits;

static void check_steps(const struct sbx_plan *plan, const char *const *names)
{
    unsigned i = 0;
    for (; names[i] != NULL && i < plan->step_count; i++) {
        CHECK_STR(plan->steps[i]->name, names[i]);
    }
    CHECK(names[i] == NULL);
    CHECK_EQ_INT(plan->step_count, i);
}

static void test_profiles(void)
{
    struct err err = {0};
    enum sbx_profile profile = SBX_NONE;
    CHECK_EQ_INT(sbx_profile_parse("standard", &profile, &err), 0);
    CHECK_EQ_INT(profile, SBX_STANDARD);
    CHECK_EQ_INT(sbx_profile_parse("none", &profile, &err), 0);
    CHECK_EQ_INT(profile, SBX_NONE);
    CHECK_EQ_INT(sbx_profile_parse("", &profile, &err), -1);
    CHECK_EQ_INT(sbx_profile_parse("None", &profile, &err), -1);
    CHECK_EQ_INT(err.code, ERR_INVALID_FIELD);
}

static void test_standard_as_root(void)
{
    struct err err = {0};
    struct sbx_plan plan;
    CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &root_facts, true, &plan, &err), 0);
    check_steps(&plan,
                (const char *const[]){"no_new_privs", "bounding_set", "securebits", "capabilities",
                                      "oom_score", "rlimits", "verify", "seccomp", NULL});
    CHECK_EQ_INT(plan.missing_count, 0);
}

static void test_standard_as_a_user(void)
{
    struct err err = {0};
    struct sbx_plan plan;
    CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &user_facts, false, &plan, &err), 0);
    check_steps(&plan, (const char *const[]){"no_new_privs", "capabilities", "oom_score", "rlimits",
                                             "verify", "seccomp", NULL});
    CHECK_EQ_INT(plan.missing_count, 2);
    CHECK_STR(plan.missing[0].name, "bounding_set");
    CHECK_STR(plan.missing[1].name, "securebits");
    CHECK(plan.missing[0].reason[0] != '\0');
}

static void test_what_is_so_already_is_not_missing(void)
{
    struct err err = {0};
    struct sbx_plan plan;
    struct sbx_facts container = {
        .bounding_empty = true, .securebits_locked = true, .has_seccomp = true};
    CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &container, true, &plan, &err), 0);
    CHECK_EQ_INT(plan.missing_count, 0);
    CHECK(sbx_plan_has(&plan, "bounding_set"));
}

static void test_none_is_hygiene(void)
{
    struct err err = {0};
    struct sbx_plan plan;
    struct sbx_facts nothing = {0};
    CHECK_EQ_INT(sbx_plan_make(SBX_NONE, &no_limits, &nothing, true, &plan, &err), 0);
    check_steps(&plan, (const char *const[]){"no_new_privs", "oom_score", "rlimits", NULL});
    CHECK_EQ_INT(plan.missing_count, 0);
    CHECK_EQ_INT(sbx_prepare(&plan, &err), 0);
    CHECK(plan.filter.filter == NULL);
    sbx_plan_release(&plan);
}

static void test_required_and_missing_is_an_error(void)
{
    struct err err = {0};
    struct sbx_plan plan;
    struct sbx_facts no_filter = {.can_set_pcap = true};
    CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &user_facts, true, &plan, &err), -1);
    CHECK(strstr(err.text, "bounding_set") != NULL);
    CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &no_filter, true, &plan, &err), -1);
    CHECK(strstr(err.text, "seccomp") != NULL);
    CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &no_filter, false, &plan, &err), 0);
    CHECK_EQ_INT(plan.missing_count, 1);
}

/* What needs a capability comes before capabilities go; the filter is last. */
static void test_every_subset_keeps_the_order(void)
{
    struct err err = {0};
    for (unsigned bits = 0; bits < 16; bits++) {
        struct sbx_plan plan;
        struct sbx_facts facts = {
            .can_set_pcap = bits & 1,
            .bounding_empty = bits & 2,
            .securebits_locked = bits & 4,
            .has_seccomp = bits & 8,
        };
        CHECK_EQ_INT(sbx_plan_make(SBX_STANDARD, &no_limits, &facts, false, &plan, &err), 0);
        int in_zygote = 0;
        int capabilities = -1;
        for (int i = 0; i < (int)plan.step_count; i++) {
            const struct sbx_step *step = plan.steps[i];
            in_zygote = step->when == SBX_IN_ZYGOTE ? i : in_zygote;
            capabilities = strcmp(step->name, "capabilities") == 0 ? i : capabilities;
            CHECK(step->why[0] != '\0');
        }
        CHECK_EQ_INT(capabilities, in_zygote);
        CHECK_EQ_INT(sbx_plan_has(&plan, "seccomp"), facts.has_seccomp);
        if (facts.has_seccomp) {
            CHECK_STR(plan.steps[plan.step_count - 1]->name, "seccomp");
        }
        CHECK_EQ_INT(plan.step_count + plan.missing_count, 8);
    }
}

int main(void)
{
    RUN(test_profiles);
    RUN(test_standard_as_root);
    RUN(test_standard_as_a_user);
    RUN(test_what_is_so_already_is_not_missing);
    RUN(test_none_is_hygiene);
    RUN(test_required_and_missing_is_an_error);
    RUN(test_every_subset_keeps_the_order);
    return check_done();
}
