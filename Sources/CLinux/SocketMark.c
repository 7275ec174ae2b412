/* The option is SO_TXTIME, for packets that are to leave at a time of their own. It changes nothing for TCP, but a socket
 * without it refuses the control message SCM_TXTIME (sock_cmsg_send in Linux 4.19 and later). The table has the mark of the
 * latest socket of ours for each number. */
#include "SocketMark.h"
#include <errno.h>
#include <linux/net_tstamp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* As many numbers as the kernel gives to a process by default (fs.nr_open). Pages of it that are never used take no memory. */
static _Atomic(uint32_t) marks[1 << 20];
static _Atomic(uint32_t) latest;

uint32_t ws_mark_socket(int socket)
{
    if ((size_t)socket >= sizeof marks / sizeof *marks) return 0;
    /* First the table: what is sent to the socket that had this number before must not find the option alone. */
    uint32_t mark = atomic_fetch_add(&latest, 1) + 1;
    atomic_store(&marks[socket], mark);
    /* (After 2^32 sockets one goes without a mark.) */
    struct sock_txtime option = {.clockid = CLOCK_MONOTONIC};
    return setsockopt(socket, SOL_SOCKET, SO_TXTIME, &option, sizeof option) == 0 ? mark : 0;
}

ssize_t ws_send_marked(int socket, uint32_t mark, const void *bytes, size_t count, int flags)
{
    if (atomic_load_explicit(&marks[socket], memory_order_relaxed) != mark) {
        errno = EINVAL;
        return -1;
    }
    /* The time is 0. */
    static const union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(uint64_t))];
    } control = {
        .header = {.cmsg_len = CMSG_LEN(sizeof(uint64_t)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_TXTIME}};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = (void *)&control, .msg_controllen = sizeof control};
    return syscall(SYS_sendmsg, socket, &message, flags);
}
