/* defaults.c: the limits that hold when no option says otherwise. */
#include "service/base/clock.h"
#include "service/session/engine.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

void engine_limits_default(struct engine_limits *limits)
{
    *limits = (struct engine_limits){
        .max_code_bytes = 16 * MIB,
        .max_sessions = 10000,
        .max_running = 8,
        .max_session_queue = 64,
        .max_waiting = 10000,
        .max_labels = 32,
        .max_label_bytes = 256,
        .max_env = 256,
        .max_env_bytes = 128 * KIB,
        .default_output_bytes = 64 * MIB,
        .max_output_bytes = 1 * GIB,
        .retained_total_bytes = 8 * GIB,
        .run_output_bytes = 3 * MIB,
        .max_retained = 100000,
        .retain_ns = 600 * NS_PER_SEC,
        .remember_ns = 600 * NS_PER_SEC,
        .default_idle_ns = 1800 * NS_PER_SEC,
        .max_idle_ns = 24 * 3600 * NS_PER_SEC,
        .default_timeout_ns = 3600 * NS_PER_SEC,
        .max_timeout_ns = 24 * 3600 * NS_PER_SEC,
        .interrupt_grace_ns = 5 * NS_PER_SEC,
        .report_ns = 5 * NS_PER_SEC,
        .dispatch_ns = 30 * NS_PER_SEC,
        .heartbeat_ns = 15 * NS_PER_SEC,
        .max_stdin_bytes = 16 * MIB,
        .spares = 2,
        .max_old_pipes = 4,
        .background_bytes = 1 * MIB,
    };
}
