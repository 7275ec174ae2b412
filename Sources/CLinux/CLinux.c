/* GNU extensions of the C library, which Swift's Glibc module leaves out. Any thread calls them. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int ws_wait_readable(int descriptor, const struct timespec *timeout, const sigset_t *mask)
{
    struct pollfd entry = {.fd = descriptor, .events = POLLIN};
    return ppoll(&entry, 1, timeout, mask);
}

/* A datagram socket that sends to itself, or -1. */
static int make_socket_wakeup(void)
{
    int wakeup = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (wakeup < 0) return -1;
    /* The kernel chooses an abstract address (unix(7), autobind). */
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    socklen_t size = sizeof own;
    if (!bind(wakeup, (struct sockaddr *)&own, sizeof own.sun_family) &&
        !getsockname(wakeup, (struct sockaddr *)&own, &size) && !connect(wakeup, (struct sockaddr *)&own, size))
        return wakeup;
    close(wakeup);
    return -1;
}

/* Whether a wake-up may be something else: only then is anything but a socket written. */
static atomic_bool has_pipes;

/* A pipe that is open for reading and writing: it has an inode of its own, as a socket has (FileDescriptor.swift). Without
 * /proc an eventfd. */
static int make_pipe_wakeup(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) return -1;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int both = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    close(ends[0]);
    close(ends[1]);
    has_pipes = true;
    return both >= 0 ? both : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int ws_make_wakeup(void)
{
    int wakeup = make_socket_wakeup();
    return wakeup >= 0 ? wakeup : make_pipe_wakeup();
}

static bool is_readable(int descriptor)
{
    struct pollfd entry = {.fd = descriptor, .events = POLLIN};
    return poll(&entry, 1, 0) == 1 && entry.revents & POLLIN;
}

int ws_signal_wakeup(int wakeup)
{
    /* The kernel may be short of memory for a moment. A lost signal would leave a thread asleep. */
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int tries = 0; tries < 20; tries++) {
        if (tries > 2) nanosleep(&pause, NULL);
        if (send(wakeup, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) == 0) return 1;
        if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM) break;
        /* It is full. */
        if (errno == EAGAIN && is_readable(wakeup)) return 1;
    }
    uint64_t one = 1;
    return errno == ENOTSOCK && has_pipes && write(wakeup, &one, sizeof one) == sizeof one;
}

int ws_clear_wakeup(int wakeup)
{
    uint64_t count;
    if (recv(wakeup, &count, 0, MSG_DONTWAIT) == 0) return 1;
    return errno == ENOTSOCK && has_pipes && read(wakeup, &count, sizeof count) == sizeof count;
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
