/* clock.h: time. Durations and deadlines are nanoseconds of CLOCK_MONOTONIC in int64_t. */
#ifndef PYEXEC_BASE_CLOCK_H
#define PYEXEC_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define CLOCK_NEVER INT64_MAX

int64_t clock_mono_ns(void);
int64_t clock_real_ns(void); /* since the epoch; only ever shown, never compared */

/* a + b, saturating; both >= 0. */
int64_t clock_add(int64_t a, int64_t b);

#endif
