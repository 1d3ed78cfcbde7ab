/* sandbox.h: what confines a session process, as a list of steps.
 *
 * Three parts: the facts of this machine and process; a plan, which is a pure function of the wish
 * and the facts; and applying the plan: once in the zygote (what every session inherits), once in each
 * session before any user code. A step that fails ends the process that it was for: nothing runs
 * with less than the plan says.
 *
 * All calls: single-threaded processes only (capabilities and filters belong to threads). */
#ifndef PYEXEC_SANDBOX_SANDBOX_H
#define PYEXEC_SANDBOX_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/err.h"

#define SBX_STEPS_MAX 16

enum sbx_profile { SBX_NONE, SBX_STANDARD };

/* 0 keeps what the process has (open_files: see rlimits.c). */
struct sbx_limits {
    uint64_t open_files;
    uint64_t processes;
    uint64_t file_size_bytes;
    uint64_t cpu_seconds;
    uint64_t address_space_bytes;
};

struct sbx_facts {
    bool can_set_pcap;      /* CAP_SETPCAP is effective */
    bool bounding_empty;    /* somebody (a container) has emptied the bounding set already */
    bool securebits_locked; /* the same for securebits */
    bool has_seccomp;       /* seccomp filters with errno results */
};

enum sbx_when {
    SBX_IN_ZYGOTE,  /* inherited by every session: paid once */
    SBX_IN_SESSION, /* in each, after its descriptors are settled */
};

struct sbx_plan;

struct sbx_step {
    const char *name; /* static; what READY and errors show */
    const char *why;
    enum sbx_when when;
    bool standard_only;
    /* NULL when the step can be made with these facts, else what is missing (static). */
    const char *(*lacks)(const struct sbx_facts *facts);
    int (*apply)(const struct sbx_plan *plan); /* 0, or a negative errno */
};

struct sbx_missing {
    const char *name;
    const char *reason;
};

struct sbx_plan {
    enum sbx_profile profile;
    struct sbx_limits limits;
    const struct sbx_step *steps[SBX_STEPS_MAX]; /* in order */
    unsigned step_count;
    struct sbx_missing missing[SBX_STEPS_MAX];
    unsigned missing_count;
    struct sock_fprog filter; /* compiled by sbx_prepare; owned */
};

/* "none" or "standard". 0, or -1 with the accepted names in `err`. */
int sbx_profile_parse(const char *name, enum sbx_profile *ret_profile, struct err *err);

void sbx_facts_read(struct sbx_facts *ret_facts);

/* The steps of `profile` that `facts` allow, and those that are missing. With `required` a missing
 * one is an error that names it. Pure. 0 or -1. */
int sbx_plan_make(enum sbx_profile profile, const struct sbx_limits *limits,
                  const struct sbx_facts *facts, bool required, struct sbx_plan *ret_plan,
                  struct err *err);
bool sbx_plan_has(const struct sbx_plan *plan, const char *name);

/* Compiles the filter where the plan has one (a millisecond: too dear for each session). 0 or -1. */
int sbx_prepare(struct sbx_plan *plan, struct err *err);
void sbx_plan_release(struct sbx_plan *plan);

/* Makes the steps of `when` in their order. NULL, or the name of the step that failed (static),
 * with its errno. No allocation: safe in a forked child. */
const char *sbx_apply(const struct sbx_plan *plan, enum sbx_when when, int *ret_errno);

#endif
