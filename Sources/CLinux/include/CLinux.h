/* System calls and headers that Swift's Glibc module does not have. WebSocketEngine uses them, on any thread. */
#ifndef WS_CLINUX_H
#define WS_CLINUX_H

#include "Acknowledgement.h"
#include "Forks.h"
#include "SocketMark.h"
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

/* ppoll of one descriptor for reading. NULL as timeout: no limit. `mask`: the signals blocked during the wait. Like the
 * other functions of CLinux.c it needs _GNU_SOURCE, which in a header would change types that other modules import,
 * too. */
int ws_wait_readable(int descriptor, const struct timespec *timeout, const sigset_t *mask);
/* A wake-up: a descriptor that is readable from ws_signal_wakeup until ws_clear_wakeup, which return 0 if they fail; -1 and
 * errno if the system gives none. It is a datagram socket that is connected to itself, and the signal is a datagram without
 * bytes: if the host has closed the socket, and opens another file at its number in the moment before the signal, no byte
 * comes into that file. In a sandbox without Unix sockets it is a pipe. ws_signal_wakeup tries for 20 ms at
 * most while the system is short of memory; else neither call blocks. */
int ws_make_wakeup(void);
int ws_signal_wakeup(int wakeup);
int ws_clear_wakeup(int wakeup);
/* send, recv and epoll_pwait without the C library's functions. Those are cancellation points, which cost two atomic
 * operations for each call in a process with threads; no thread of ours is ever cancelled. */
static inline ssize_t ws_send(int socket, const void *bytes, size_t count, int flags)
{
    return syscall(SYS_sendto, socket, bytes, count, flags, NULL, 0);
}
static inline ssize_t ws_receive(int socket, void *bytes, size_t count)
{
    return syscall(SYS_recvfrom, socket, bytes, count, MSG_DONTWAIT, NULL, NULL);
}
static inline int ws_epoll_wait(int epoll, struct epoll_event *events, int most, int milliseconds, const sigset_t *mask)
{
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, mask, (size_t)_NSIG / 8);
}

/* Has the C library's resolver read its configuration. A function, since res_init is a macro. */
static inline void ws_start_resolver(void) { res_init(); }

/* Waits while the word is `value`, or returns earlier without a reason; wakes one waiting thread. */
static inline void ws_futex_wait(void *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static inline void ws_futex_wake(void *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

/* accept4 of a close-on-exec, non-blocking socket. */
int ws_accept(int listener, struct sockaddr *peer, socklen_t *length);
/* Whether the kernel knows the path, or that there is none, without asking a disk or a server, for which it might wait. False
 * if it can't tell: Linux 5.11 and older, or a sandbox. */
bool ws_is_path_cached(const char *path);
/* Whether the peer has stopped sending; 2: both sides are closed, or the connection is broken. */
int ws_peer_end(int socket);
/* A word of the calling thread's own (LockLevel.swift). */
unsigned *ws_held_locks(void);
/* Names the calling thread. */
void ws_name_thread(const char *name);
/* An environment variable; NULL if it is not set, or if the program has more rights than its user. */
const char *ws_get_variable(const char *name);

#endif
