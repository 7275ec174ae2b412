/* What Swift's Glibc module leaves out of the C library. */
#ifndef WS_CLINUX_H
#define WS_CLINUX_H

#include "Acknowledgement.h"
#include "Forks.h"
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

/* These need _GNU_SOURCE, which would change types that other modules import as well. */

/* ppoll of one descriptor for reading: without a timeout for ever, with a mask open to the signals not in it. */
int ws_wait_readable(int descriptor, const struct timespec *timeout, const sigset_t *mask);
/* send, recv and epoll_pwait. The C library's are cancellation points: where there are threads, each call takes two
 * atomic operations for that. Nobody cancels these. */
static inline ssize_t ws_send(int socket, const void *bytes, size_t count, int flags)
{
    return syscall(SYS_sendto, socket, bytes, count, flags, NULL, 0);
}
static inline ssize_t ws_receive(int socket, void *bytes, size_t count)
{
    return syscall(SYS_recvfrom, socket, bytes, count, 0, NULL, NULL);
}
static inline int ws_epoll_wait(int epoll, struct epoll_event *events, int most, int milliseconds, const sigset_t *mask)
{
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, mask, (size_t)_NSIG / 8);
}

/* Waits as long as the word is `value`, or for less; wakes one that waits for it. */
static inline void ws_futex_wait(void *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static inline void ws_futex_wake(void *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

/* accept4: close-on-exec, not blocking. */
int ws_accept(int listener);
/* pthread_setname_np of the calling thread. */
void ws_name_thread(const char *name);

#endif
