#include "Forks.h"
#include <pthread.h>
#include <stddef.h>

int ws_forks;

static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER;

void ws_hold_forks(void) { pthread_mutex_lock(&fork_lock); }
void ws_release_forks(void) { pthread_mutex_unlock(&fork_lock); }

static void in_child(void)
{
    ws_forks++;
    ws_release_forks();
}
static void begin(void) { pthread_atfork(ws_hold_forks, ws_release_forks, in_child); }

void ws_count_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin);
}
