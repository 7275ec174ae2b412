/* Counts forks, and lets a thread hold fork() back. The handlers run on the thread that calls fork(). See Forks.h. */
#define _GNU_SOURCE
#include "Forks.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

int ws_forks;

/* Threads that hold locks of libraries lock it for reading, fork locks it for writing. A waiting writer blocks new
 * readers, so that fork waits only for the threads that are already in. */
static const pthread_rwlock_t unlocked = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void ws_block_forks(void) { pthread_rwlock_rdlock(&fork_lock); }
void ws_allow_forks(void) { pthread_rwlock_unlock(&fork_lock); }

/* The thread that runs the loop locks it for reading during the work of a turn. fork takes it last, so that the loop
 * waits for a fork only, never for the other threads that fork waits for. */
static pthread_rwlock_t turn_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
/* A signal handler may fork in the middle of a turn, on the thread that runs it. */
static _Thread_local bool is_in_turn __attribute__((tls_model("initial-exec")));

void ws_begin_turn(void)
{
    pthread_rwlock_rdlock(&turn_lock);
    is_in_turn = true;
}

void ws_end_turn(void)
{
    is_in_turn = false;
    pthread_rwlock_unlock(&turn_lock);
}

static void before_fork(void)
{
    pthread_rwlock_wrlock(&fork_lock);
    if (!is_in_turn) pthread_rwlock_wrlock(&turn_lock);
}

static void in_parent(void)
{
    if (!is_in_turn) pthread_rwlock_unlock(&turn_lock);
    pthread_rwlock_unlock(&fork_lock);
}

static void in_child(void)
{
    ws_forks++;
    /* The lock has the thread id of its owner, which does not exist in the child: it can't be unlocked there. */
    fork_lock = unlocked;
    if (!is_in_turn) turn_lock = unlocked;
}
static void register_handlers(void) { pthread_atfork(before_fork, in_parent, in_child); }

void ws_start_counting_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_handlers);
}
