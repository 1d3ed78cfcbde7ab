/* stats.c: counters and log-linear histograms. Any thread counts; relaxed atomics are enough, since
 * nobody concludes anything from two of them together. */
#include <stdlib.h>
#include <sys/resource.h>

#include "service/session/internal.h"

/* Four buckets an octave, from 1,024 ns on: bucket i holds values below upper_bound(i); the last
 * one also what is beyond. */
#define FIRST_BITS 10
#define STEPS 4

static uint64_t upper_bound(unsigned i)
{
    uint64_t base = UINT64_C(1) << (FIRST_BITS + i / STEPS);
    return base + base / STEPS * (i % STEPS + 1);
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < UINT64_C(1) << FIRST_BITS) {
        return 0;
    }
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
    unsigned step = (unsigned)((ns - (UINT64_C(1) << octave)) / ((UINT64_C(1) << octave) / STEPS));
    unsigned i = (octave - FIRST_BITS) * STEPS + step;
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

static void clear(struct stats *s)
{
    for (unsigned i = 0; i < ENGINE_COUNT_COUNT; i++) {
        atomic_store_explicit(&s->counters[i], 0, memory_order_relaxed);
    }
    for (unsigned i = 0; i < ENGINE_HIST_COUNT; i++) {
        struct histogram *h = &s->histograms[i];
        for (unsigned k = 0; k < HISTOGRAM_BUCKETS; k++) {
            atomic_store_explicit(&h->counts[k], 0, memory_order_relaxed);
        }
        atomic_store_explicit(&h->count, 0, memory_order_relaxed);
        atomic_store_explicit(&h->sum, 0, memory_order_relaxed);
        atomic_store_explicit(&h->min, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&h->max, 0, memory_order_relaxed);
    }
    s->since_real_ns = clock_real_ns();
}

void stats_init(struct stats *s)
{
    clear(s);
}

void engine_count(struct engine *e, enum engine_counter which, uint64_t n)
{
    atomic_fetch_add_explicit(&e->stats.counters[which], n, memory_order_relaxed);
}

void engine_observe(struct engine *e, enum engine_histogram which, int64_t ns)
{
    struct histogram *h = &e->stats.histograms[which];
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;
    atomic_fetch_add_explicit(&h->counts[bucket_of(v)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, v, memory_order_relaxed);
    uint64_t seen = atomic_load_explicit(&h->min, memory_order_relaxed);
    while (v < seen && !atomic_compare_exchange_weak_explicit(
                           &h->min, &seen, v, memory_order_relaxed, memory_order_relaxed)) {
    }
    seen = atomic_load_explicit(&h->max, memory_order_relaxed);
    while (v > seen && !atomic_compare_exchange_weak_explicit(
                           &h->max, &seen, v, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void histogram_message(const struct histogram *h, uint64_t *bounds, uint64_t *counts,
                              Pyexec__V1__Histogram *m)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        bounds[i] = upper_bound(i);
        counts[i] = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    }
    m->n_upper_bounds_ns = m->n_counts = HISTOGRAM_BUCKETS;
    m->upper_bounds_ns = bounds;
    m->counts = counts;
    m->count = atomic_load_explicit(&h->count, memory_order_relaxed);
    m->sum_ns = atomic_load_explicit(&h->sum, memory_order_relaxed);
    m->min_ns = m->count > 0 ? atomic_load_explicit(&h->min, memory_order_relaxed) : 0;
    m->max_ns = atomic_load_explicit(&h->max, memory_order_relaxed);
}

static void own_usage(Pyexec__V1__ResourceUsage *m, Google__Protobuf__Duration *user,
                      Google__Protobuf__Duration *system)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) < 0) {
        return;
    }
    message_duration(user, u.ru_utime.tv_sec * NS_PER_SEC + u.ru_utime.tv_usec * 1000);
    message_duration(system, u.ru_stime.tv_sec * NS_PER_SEC + u.ru_stime.tv_usec * 1000);
    m->cpu_user = user;
    m->cpu_system = system;
    m->max_rss_bytes = (uint64_t)u.ru_maxrss * 1024;
}

/* A message of 8 KiB of numbers: too large for the stack of comfort, so it is one allocation. */
struct answer {
    Pyexec__V1__GetServerStatsResponse m;
    Google__Protobuf__Timestamp start, end;
    Pyexec__V1__GetServerStatsResponse__CountersEntry entries[ENGINE_COUNT_COUNT];
    Pyexec__V1__GetServerStatsResponse__CountersEntry *entry_list[ENGINE_COUNT_COUNT];
    Pyexec__V1__Histogram histograms[ENGINE_HIST_COUNT];
    Pyexec__V1__Histogram *histogram_list[ENGINE_HIST_COUNT];
    uint64_t bounds[ENGINE_HIST_COUNT][HISTOGRAM_BUCKETS];
    uint64_t counts[ENGINE_HIST_COUNT][HISTOGRAM_BUCKETS];
    Pyexec__V1__ResourceUsage usage;
    Google__Protobuf__Duration user, system;
};

static void fill(struct answer *a, const struct stats *s)
{
    static const char *const counters[ENGINE_COUNT_COUNT] = {
        [ENGINE_COUNT_CALLS] = "calls",
        [ENGINE_COUNT_CALLS_REFUSED] = "calls.refused",
        [ENGINE_COUNT_BYTES_SENT] = "bytes.sent",
        [ENGINE_COUNT_EXECUTIONS] = "executions",
        [ENGINE_COUNT_SESSIONS] = "sessions",
        [ENGINE_COUNT_ZYGOTE_RESTARTS] = "zygote.restarts",
    };
    static const char *const histograms[ENGINE_HIST_COUNT] = {
        [ENGINE_HIST_EXECUTE_TOTAL] = "execute.total",
        [ENGINE_HIST_EXECUTE_DISPATCH] = "execute.dispatch",
        [ENGINE_HIST_SESSION_CREATE] = "session.create",
        [ENGINE_HIST_FIRST_OUTPUT] = "execute.first_output",
    };
    for (unsigned i = 0; i < ENGINE_COUNT_COUNT; i++) {
        pyexec__v1__get_server_stats_response__counters_entry__init(&a->entries[i]);
        a->entries[i].key = (char *)(uintptr_t)counters[i];
        a->entries[i].value = atomic_load_explicit(&s->counters[i], memory_order_relaxed);
        a->entry_list[i] = &a->entries[i];
    }
    for (unsigned i = 0; i < ENGINE_HIST_COUNT; i++) {
        pyexec__v1__histogram__init(&a->histograms[i]);
        a->histograms[i].name = (char *)(uintptr_t)histograms[i];
        histogram_message(&s->histograms[i], a->bounds[i], a->counts[i], &a->histograms[i]);
        a->histogram_list[i] = &a->histograms[i];
    }
}

void engine_get_server_stats(struct engine *e, const struct engine_caller *caller,
                             const Pyexec__V1__GetServerStatsRequest *q, engine_done_fn *done,
                             void *ctx)
{
    struct answer *a = calloc(1, sizeof *a);
    (void)caller;
    if (a == NULL) {
        struct err err = {0};
        (void)err_set(&err, ERR_NO_MEMORY, "out of memory");
        done(ctx, NULL, &err);
        return;
    }
    pyexec__v1__get_server_stats_response__init(&a->m);
    pyexec__v1__resource_usage__init(&a->usage);
    fill(a, &e->stats);
    message_timestamp(&a->start, e->stats.since_real_ns);
    message_timestamp(&a->end, clock_real_ns());
    own_usage(&a->usage, &a->user, &a->system);
    a->m.interval_start = &a->start;
    a->m.interval_end = &a->end;
    a->m.n_counters = ENGINE_COUNT_COUNT;
    a->m.counters = a->entry_list;
    a->m.n_histograms = ENGINE_HIST_COUNT;
    a->m.histograms = a->histogram_list;
    a->m.usage = &a->usage;
    if (q->reset) {
        clear(&e->stats);
    }
    done(ctx, &a->m.base, NULL);
    free(a);
}
