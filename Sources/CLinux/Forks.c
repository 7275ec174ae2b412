/* Counts forks, and lets a thread hold fork() back. The handlers run on the thread that calls fork(). See Forks.h. */
#define _GNU_SOURCE
#include "Forks.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

int ws_forks;

/* Threads lock these two for reading, fork locks them for writing, in this order. A waiting writer blocks new readers,
 * so that fork waits only for the threads that are already in. While fork waits for the first lock, the loop can still
 * take the second one: the loop waits for a fork only, never for the threads that fork waits for. */
static const pthread_rwlock_t unlocked = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_rwlock_t turn_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* Whether this thread has one of the locks. Set before it locks and cleared after it unlocks, so that a signal handler
 * which forks at any moment sees it. */
static _Thread_local volatile bool is_blocking;
static _Thread_local volatile bool is_in_turn;

bool ws_block_forks(bool blocks)
{
    bool did_block = is_blocking;
    if (blocks == did_block) return did_block;
    if (blocks) {
        is_blocking = true;
        pthread_rwlock_rdlock(&fork_lock);
    } else {
        pthread_rwlock_unlock(&fork_lock);
        is_blocking = false;
    }
    return did_block;
}

void ws_begin_turn(void)
{
    is_in_turn = true;
    pthread_rwlock_rdlock(&turn_lock);
}

void ws_end_turn(void)
{
    pthread_rwlock_unlock(&turn_lock);
    is_in_turn = false;
}

bool ws_is_in_turn(void) { return is_in_turn; }

/* A signal handler forks on a thread that has one of the locks: fork would wait for its own thread. Such a child
 * inherits both locks as they are. */
static bool forks_in_handler(void) { return is_blocking || is_in_turn; }

static void before_fork(void)
{
    if (forks_in_handler()) return;
    pthread_rwlock_wrlock(&fork_lock);
    pthread_rwlock_wrlock(&turn_lock);
}

static atomic_int children;

int ws_children(void) { return atomic_load_explicit(&children, memory_order_relaxed); }

static void in_parent(void)
{
    children++;
    if (forks_in_handler()) return;
    pthread_rwlock_unlock(&turn_lock);
    pthread_rwlock_unlock(&fork_lock);
}

static void in_child(void)
{
    ws_forks++;
    if (forks_in_handler()) return;
    /* A lock has the thread id of its owner, which does not exist in the child: it can't be unlocked there. */
    fork_lock = unlocked;
    turn_lock = unlocked;
}

static void register_handlers(void) { pthread_atfork(before_fork, in_parent, in_child); }

void ws_start_counting_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_handlers);
}
