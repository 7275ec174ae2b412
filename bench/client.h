/* Shared by the clients in C and C++: their arguments, the check of received messages, and the line that they
 * print. For clients in Lua: client.lua and callback.lua.
 *
 *   CLIENT MODE KIND URL COUNT SIZE PAYLOADS
 *
 * MODE: receive, send, roundtrip, idle (COUNT connections), tick (SIZE-byte messages on 1000 connections for
 * COUNT seconds). PAYLOADS: the file with the messages to send, written by "server payloads". */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TICKING = 1000, OPENING_AT_ONCE = 256 };

typedef struct job {
    const char *mode, *kind, *path;
    bool secure, binary, deflates;
    int port;
    uint64_t count;
    size_t size;
    /* the messages to send, in turn */
    char *payloads;
    size_t payload_count;
} job;

static inline void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline bool is_mode(const job *j, const char *mode) { return !strcmp(j->mode, mode); }

static inline const char *payload_at(const job *j, uint64_t n)
{
    return j->payloads + n % j->payload_count * j->size;
}

static inline job read_job(int argc, char **argv)
{
    job j;
    memset(&j, 0, sizeof j);
    if (argc != 7) fail("usage: CLIENT MODE KIND URL COUNT SIZE PAYLOADS");
    j.mode = argv[1];
    j.kind = argv[2];
    j.secure = !strncmp(argv[3], "wss:", 4);
    j.binary = !strcmp(j.kind, "binary");
    j.deflates = !strcmp(j.kind, "json");
    const char *port = strrchr(argv[3], ':');
    j.port = port ? atoi(port + 1) : 0;
    j.path = port ? strchr(port, '/') : NULL;
    if (!j.port || !j.path) fail("a URL with a port and a path, please");
    j.count = strtoull(argv[4], NULL, 10);
    j.size = strtoull(argv[5], NULL, 10);
    FILE *file = fopen(argv[6], "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("the payloads can't be read");
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    j.payload_count = bytes / j.size;
    j.payloads = (char *)malloc(bytes);
    if (!j.payload_count || !j.payloads || fread(j.payloads, 1, bytes, file) != bytes) fail("no payloads");
    fclose(file);
    return j;
}

/* MARK: Measuring */

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Processor time of the whole process, in seconds. */
static inline double processor_time(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static inline long resident_bytes(void)
{
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
        fclose(file);
    }
    return resident * sysconf(_SC_PAGESIZE);
}

typedef struct meter {
    double start, cpu, seconds;
} meter;

static inline meter meter_start(void)
{
    meter m = {now(), processor_time(), 0};
    return m;
}

static inline void meter_stop(meter *m)
{
    m->seconds = now() - m->start;
    m->cpu = processor_time() - m->cpu;
}

/* MARK: Checking */

/* Messages received so far. Their numbers grow, so a missing or reordered message is noticed. */
typedef struct tally {
    uint64_t count, expected, bytes;
    bool ordered, whole, complete;
    size_t last_size;
    char last[32];
    char *last_message;
    meter timing;
} tally;

/* Starts the measurement. */
static inline tally tally_start(uint64_t expected)
{
    tally t;
    memset(&t, 0, sizeof t);
    t.expected = expected;
    t.ordered = true;
    t.timing = meter_start();
    return t;
}

/* Called for each message. True at the end: "done" with the last message again, whose time is not counted. */
static inline bool tally_take(tally *t, const char *data, size_t size)
{
    if (t->count == t->expected) {
        t->whole = size == t->last_size + 4 && !memcmp(data, "done", 4) &&
                   !memcmp(data + 4, t->last_message, t->last_size);
        t->complete = true;
        return true;
    }
    t->count++;
    t->bytes += size;
    if (size < sizeof t->last || memcmp(data, t->last, sizeof t->last) <= 0) t->ordered = false;
    else memcpy(t->last, data, sizeof t->last);
    if (t->count == t->expected) {
        meter_stop(&t->timing);
        t->last_size = size;
        t->last_message = (char *)malloc(size + 1);
        if (!t->last_message) abort();
        memcpy(t->last_message, data, size);
    }
    return false;
}

/* Whether the sink confirmed all messages. */
static inline bool is_done(const char *data, size_t size, uint64_t count)
{
    char wanted[64];
    size_t length = (size_t)snprintf(wanted, sizeof wanted, "done %llu", (unsigned long long)count);
    return size == length && !memcmp(data, wanted, length);
}

/* MARK: Reporting */

static inline void report(uint64_t messages, uint64_t bytes, const meter *m, bool ok)
{
    printf("{\"messages\": %llu, \"bytes\": %llu, \"seconds\": %.9f, \"cpu\": %.6f, \"rss\": %ld, \"ok\": %s}\n",
           (unsigned long long)messages, (unsigned long long)bytes, m->seconds, m->cpu, resident_bytes(),
           ok ? "true" : "false");
}

static inline void report_tally(const tally *t, size_t size)
{
    report(t->count, t->bytes, &t->timing,
           t->complete && t->ordered && t->whole && t->bytes == t->expected * size);
}

static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline void report_roundtrips(double *times, uint64_t count, const meter *m, bool ok)
{
    qsort(times, count, sizeof *times, compare_doubles);
    printf("{\"messages\": %llu, \"seconds\": %.9f, \"cpu\": %.6f, \"rss\": %ld, \"p50\": %.9f, \"p99\": %.9f, "
           "\"ok\": %s}\n",
           (unsigned long long)count, m->seconds, m->cpu, resident_bytes(), times[count / 2], times[count * 99 / 100],
           ok ? "true" : "false");
}

static inline void report_idle(uint64_t count, const meter *m, long empty)
{
    printf("{\"messages\": %llu, \"seconds\": %.9f, \"cpu\": %.6f, \"rss\": %ld, \"empty\": %ld, \"ok\": true}\n",
           (unsigned long long)count, m->seconds, m->cpu, resident_bytes(), empty);
}

#endif
