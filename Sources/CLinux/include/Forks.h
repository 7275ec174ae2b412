/* How many forks made this process, since the first ws_start_counting_forks; it changes only while there is one thread. */
#ifndef WS_FORKS_H
#define WS_FORKS_H

extern int ws_forks;
void ws_start_counting_forks(void);
/* Between these two no thread forks: a lock of a library, OpenSSL's above all, that is held at that moment would be held in
 * the child for ever. For short pieces of work that read no file: fork waits for them. Not to be nested. */
void ws_block_forks(void);
void ws_allow_forks(void);
/* Accessor for Swift, which rejects a mutable global of C as not concurrency-safe. */
static inline int ws_fork_count(void) { return ws_forks; }

#endif
