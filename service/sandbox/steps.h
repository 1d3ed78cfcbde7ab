/* steps.h: the single steps, one function each: 0 or a negative errno. Called by steps.c alone. */
#ifndef PYEXEC_SANDBOX_STEPS_H
#define PYEXEC_SANDBOX_STEPS_H

#include "service/sandbox/sandbox.h"

/* The ordered list of all steps (steps.c). */
extern const struct sbx_step sbx_steps[];
extern const unsigned sbx_step_count;

/* caps.c */
int sbx_no_new_privs(const struct sbx_plan *plan);
int sbx_bounding(const struct sbx_plan *plan);
int sbx_securebits(const struct sbx_plan *plan);
int sbx_capabilities(const struct sbx_plan *plan);
int sbx_verify(const struct sbx_plan *plan);
bool sbx_bounding_is_empty(void);
bool sbx_securebits_are_locked(void);
bool sbx_has_setpcap(void);

/* rlimits.c */
int sbx_rlimits(const struct sbx_plan *plan);
int sbx_oom_score(const struct sbx_plan *plan);

/* filter.c */
bool sbx_seccomp_available(void);
/* 0 or -1; release with free(ret->filter). */
int sbx_filter_compile(struct sock_fprog *ret, struct err *err);
int sbx_seccomp(const struct sbx_plan *plan);
/* The refused system calls by name, ended by NULL. */
extern const char *const sbx_refused_calls[];

#endif
