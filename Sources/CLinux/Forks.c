/* Counts forks, and lets a thread hold fork() back. The handlers run on the thread that calls fork(). See Forks.h. */
#define _GNU_SOURCE
#include "Forks.h"
#include <pthread.h>
#include <stddef.h>

int ws_forks;

/* Readers are threads that hold locks of libraries; the writer is fork. It comes before new readers, so that it waits for
 * those that are there and no others. */
static const pthread_rwlock_t unlocked = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void ws_block_forks(void) { pthread_rwlock_rdlock(&fork_lock); }
void ws_allow_forks(void) { pthread_rwlock_unlock(&fork_lock); }

static void before(void) { pthread_rwlock_wrlock(&fork_lock); }
static void in_parent(void) { pthread_rwlock_unlock(&fork_lock); }

static void in_child(void)
{
    ws_forks++;
    /* It names its owner by a thread that the child does not have. */
    fork_lock = unlocked;
}
static void begin(void) { pthread_atfork(before, in_parent, in_child); }

void ws_start_counting_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin);
}
