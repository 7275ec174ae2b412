/* Marks of TCP sockets. They tell a socket from others that have got its number after the host has closed it: those of the
 * host by an option that the kernel looks for in the call that writes, those of ours by a table. SocketWriter.swift uses
 * them. */
#ifndef WS_SOCKET_MARK_H
#define WS_SOCKET_MARK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Marks a TCP socket: from now on its number stands for it, and ws_send_marked takes the result. 0: the kernel does not know the
 * option, or the number is too large for the table. */
uint32_t ws_mark_socket(int socket);
/* ws_send, but fails with EINVAL if the number does not stand for the socket with this mark any more. */
ssize_t ws_send_marked(int socket, uint32_t mark, const void *bytes, size_t count, int flags);

#endif
