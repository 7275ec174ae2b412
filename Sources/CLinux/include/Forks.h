/* Tells a forked child that it is one, and blocks fork for short times. CLua reads the count whenever a script enters
 * the module; WebSocketEngine uses the rest, on any thread (Fork.swift, Loop.swift). */
#ifndef WS_FORKS_H
#define WS_FORKS_H

#include <stdbool.h>

/* The number of forks between the first ws_start_counting_forks and this process. It changes only in a new child, which
 * has one thread. */
extern int ws_forks;
/* The number of forks of this process since then. Changes at any time. */
int ws_children(void);
void ws_start_counting_forks(void);
/* While a thread blocks forks, fork waits. Without that, a lock that this thread holds during the fork would stay locked
 * in the child: above all a lock of OpenSSL or of Swift's runtime. Returns whether this thread blocked forks before. Only
 * for short work that does not wait for a file or the network, and never within a turn. */
bool ws_block_forks(bool blocks);
/* Between these two, fork waits as well: for the work of one turn of the loop. They are not nested. A turn has a lock of
 * its own, so that the loop never waits for a thread that blocks forks. */
void ws_begin_turn(void);
void ws_end_turn(void);
bool ws_is_in_turn(void);
/* Accessor for Swift, which rejects a mutable C global as not concurrency-safe. */
static inline int ws_fork_count(void) { return ws_forks; }

#endif
