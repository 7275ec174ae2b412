/* GNU extensions of the C library, which Swift's Glibc module leaves out. Any thread calls them. */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

int ws_wait_readable(int descriptor, const struct timespec *timeout, const sigset_t *mask)
{
    struct pollfd entry = {.fd = descriptor, .events = POLLIN};
    return ppoll(&entry, 1, timeout, mask);
}

int ws_make_wakeup(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) return -1;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int both = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    close(ends[0]);
    close(ends[1]);
    return both >= 0 ? both : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
