/* How many forks made this process, since the first ws_count_forks; it changes only while there is one thread. */
#ifndef WS_FORKS_H
#define WS_FORKS_H

extern int ws_forks;
void ws_count_forks(void);
/* Between these two nothing forks: a lock that is held at that moment, OpenSSL's above all, would be held in the child for
 * ever. */
void ws_hold_forks(void);
void ws_release_forks(void);
/* For Swift, to which a variable of C is nobody's. */
static inline int ws_fork_count(void) { return ws_forks; }

#endif
