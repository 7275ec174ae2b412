/* Tells a forked child that it is one, and blocks fork for short times. CLua reads the count whenever a script enters
 * the module; the engine's threads use the rest (Fork.swift). */
#ifndef WS_FORKS_H
#define WS_FORKS_H

/* The number of forks between the first ws_start_counting_forks and this process. It changes only in a new child, which
 * has one thread. */
extern int ws_forks;
void ws_start_counting_forks(void);
/* Between these two, fork waits. Without that, a lock of a library (above all OpenSSL's) that another thread holds
 * during the fork would stay locked in the child. Only for short work that reads no file. Must not be nested. */
void ws_block_forks(void);
void ws_allow_forks(void);
/* Between these two, fork waits as well: the work of one turn of the loop, without the wait. Swift's runtime has locks, too,
 * which the child would need. Neither file access nor ws_block_forks may come between them. */
void ws_begin_turn(void);
void ws_end_turn(void);
/* Accessor for Swift, which rejects a mutable C global as not concurrency-safe. */
static inline int ws_fork_count(void) { return ws_forks; }

#endif
