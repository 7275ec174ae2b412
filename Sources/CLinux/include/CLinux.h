/* What Swift's Glibc module leaves out of the C library. */
#ifndef WS_CLINUX_H
#define WS_CLINUX_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

/* Three that need _GNU_SOURCE, which would change types that other modules import as well. */

/* ppoll of one descriptor for reading: without a timeout for ever, with a mask open to the signals not in it. */
int ws_wait_readable(int descriptor, const struct timespec *timeout, const sigset_t *mask);
/* accept4: close-on-exec, not blocking. */
int ws_accept(int listener);
/* pthread_setname_np of the calling thread. */
void ws_name_thread(const char *name);

#endif
