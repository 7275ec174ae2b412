/* Reads TCP_INFO. A file of its own, since linux/tcp.h and the C library's netinet/tcp.h define the same names. */
#include "Acknowledgement.h"
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

size_t ws_unacknowledged_bytes(int socket)
{
    int outstanding = 0;
    return !ioctl(socket, SIOCOUTQ, &outstanding) && outstanding > 0 ? (size_t)outstanding : 0;
}

bool ws_read_acknowledgement(int socket, ws_acknowledgement *state)
{
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    socklen_t size = sizeof info;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size)) return false;
    *state = (ws_acknowledgement){
        .outstanding = ws_unacknowledged_bytes(socket),
        .silence = info.tcpi_last_ack_recv,
        .round_trip = info.tcpi_rtt,
        .unanswered = (uint32_t)info.tcpi_retransmits + info.tcpi_probes,
        .since_sent = info.tcpi_last_data_sent,
        .window = info.tcpi_snd_wnd,
        .acknowledged = info.tcpi_bytes_acked,
    };
    return true;
}
