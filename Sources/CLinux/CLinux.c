/* GNU extensions of the C library, which Swift's Glibc module leaves out. Any thread calls them. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <stdio.h>
#include <stdlib.h>

int ws_wait_readable(int descriptor, const struct timespec *timeout, const sigset_t *mask)
{
    struct pollfd entry = {.fd = descriptor, .events = POLLIN};
    return ppoll(&entry, 1, timeout, mask);
}

int ws_make_wakeup(void)
{
    int wakeup = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (wakeup < 0) return -1;
    /* The kernel chooses an abstract address (unix(7), autobind). */
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    socklen_t size = sizeof own;
    if (!bind(wakeup, (struct sockaddr *)&own, sizeof own.sun_family) &&
        !getsockname(wakeup, (struct sockaddr *)&own, &size) && !connect(wakeup, (struct sockaddr *)&own, size))
        return wakeup;
    int failure = errno;
    close(wakeup);
    errno = failure;
    return -1;
}

/* The mark is SO_TXTIME, an option for packets that are to leave at a time of their own. It changes nothing for TCP, but a
 * socket without it refuses the control message SCM_TXTIME (sock_cmsg_send in Linux 4.19 and later). */
void ws_mark_socket(int socket)
{
    struct sock_txtime mark = {.clockid = CLOCK_MONOTONIC};
    setsockopt(socket, SOL_SOCKET, SO_TXTIME, &mark, sizeof mark);
}

ssize_t ws_send_marked(int socket, const void *bytes, size_t count, int flags)
{
    static const struct {
        struct cmsghdr header;
        uint64_t time;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(uint64_t)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_TXTIME}};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = (void *)&control, .msg_controllen = sizeof control};
    return syscall(SYS_sendmsg, socket, &message, flags);
}

int ws_peer_end(int socket)
{
    struct pollfd entry = {.fd = socket, .events = POLLRDHUP};
    if (poll(&entry, 1, 0) <= 0) return 0;
    return entry.revents == POLLRDHUP ? 1 : 2;
}

bool ws_is_path_cached(const char *path)
{
    /* struct open_how and RESOLVE_CACHED of linux/openat2.h, which older headers lack. */
    struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_PATH | O_CLOEXEC, .resolve = 0x20};
    int number = (int)syscall(437 /* openat2 */, AT_FDCWD, path, &how, sizeof how);
    if (number < 0) return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP;
    close(number);
    return true;
}

int ws_accept(int listener, struct sockaddr *peer, socklen_t *length)
{
    return accept4(listener, peer, length, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

unsigned *ws_held_locks(void)
{
    static _Thread_local unsigned levels;
    return &levels;
}

void ws_name_thread(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

const char *ws_get_variable(const char *name)
{
    return secure_getenv(name);
}
