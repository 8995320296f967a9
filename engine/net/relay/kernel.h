/* System calls of Linux and their types, for relay.c, which has no C library. */

typedef unsigned char byte;
typedef unsigned short half;
typedef unsigned int uint;
typedef unsigned long word;

enum { EINTR = 4, EAGAIN = 11, EINVAL = 22, ENFILE = 23, EMFILE = 24, ENOMEM = 12 };
enum { ENOBUFS = 105, ECONNREFUSED = 111, EINPROGRESS = 115 };
enum { AF_INET = 2, AF_INET6 = 10, STREAM = 1, DATAGRAM = 2, RAW = 3, CLOEXEC = 02000000, NONBLOCK = 04000, TCP = 6 };
enum { UDP = 17, SO_REUSEADDR = 2, IP_TRANSPARENT = 19, IPV6_TRANSPARENT = 75, IP_RECVORIGDSTADDR = 20, EADDRNOTAVAIL = 99 };
enum { IPV6_RECVORIGDSTADDR = 74, NET_RAW = 1 << 13, CONTROL_HEAD = 16, LEAST_CONTROL = 28 };
enum { SOL_SOCKET = 1, SO_ERROR = 4, SO_KEEPALIVE = 9, SO_LINGER = 13, TCP_NODELAY = 1, TCP_SYNCNT = 7, IP_PKTINFO = 8 };
enum { IPV6_RECVPKTINFO = 49, IPV6_PKTINFO = 50, IPPROTO_IPV6 = 41, SCM_RIGHTS = 1, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000 };
enum { MSG_CMSG_CLOEXEC = 0x40000000, SHUT_WR = 1, F_SETPIPE_SZ = 1031, RLIMIT_NOFILE = 7 };
enum { EPOLL_ADD = 1, EPOLL_MOD = 3, IN = 1, OUT = 4, ERR = 8, HUP = 0x10, RDHUP = 0x2000, EDGE = 1u << 31 };
enum { READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22, LAST_ERROR = 4095, CAPABILITIES = 0x20080522 };
enum { SPLICE_MOVE = 1, SPLICE_NONBLOCK = 2 };

#if defined(__x86_64__)
enum { SYS_write = 1, SYS_read = 0, SYS_close = 3, SYS_mmap = 9, SYS_munmap = 11, SYS_capset = 126,
       SYS_socket = 41, SYS_connect = 42, SYS_bind = 49, SYS_getsockname = 51, SYS_getpeername = 52, SYS_sendto = 44, SYS_sendmsg = 46,
       SYS_recvmsg = 47, SYS_shutdown = 48, SYS_setsockopt = 54, SYS_getsockopt = 55, SYS_fcntl = 72, SYS_clock_gettime = 228,
       SYS_exit_group = 231, SYS_epoll_ctl = 233, SYS_splice = 275, SYS_epoll_pwait = 281, SYS_accept4 = 288,
       SYS_epoll_create1 = 291, SYS_pipe2 = 293, SYS_prlimit64 = 302 };
__asm__(".globl _start\n_start:\n and $-16, %rsp\n call run\n");
struct event {
    uint events;
    uint fd, life;
} __attribute__((packed));
#elif defined(__aarch64__)
enum { SYS_write = 64, SYS_read = 63, SYS_close = 57, SYS_mmap = 222, SYS_munmap = 215, SYS_capset = 91,
       SYS_socket = 198, SYS_connect = 203, SYS_bind = 200, SYS_getsockname = 204, SYS_getpeername = 205, SYS_sendto = 206,
       SYS_sendmsg = 211, SYS_recvmsg = 212, SYS_shutdown = 210, SYS_setsockopt = 208, SYS_getsockopt = 209, SYS_fcntl = 25,
       SYS_clock_gettime = 113, SYS_exit_group = 94, SYS_epoll_ctl = 21, SYS_splice = 76, SYS_epoll_pwait = 22,
       SYS_accept4 = 242, SYS_epoll_create1 = 20, SYS_pipe2 = 59, SYS_prlimit64 = 261 };
__asm__(".globl _start\n_start:\n bl run\n");
struct event {
    uint events;
    uint padding;
    uint fd, life;
};
#endif
#include "../../kernel/call.h"

#define call1(n, a) call(n, (long)(a), 0, 0, 0, 0, 0)
#define call2(n, a, b) call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define call3(n, a, b, c) call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define call4(n, a, b, c, d) call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define call5(n, a, b, c, d, e) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define call6(n, a, b, c, d, e, f) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

struct address { /* sockaddr_in or sockaddr_in6 */
    half family;
    byte rest[26];
};
struct vector {
    void *base;
    word size;
};
struct header { /* struct msghdr */
    void *name;
    uint name_size, padding;
    struct vector *vectors;
    word count;
    void *control;
    word control_size;
    int flags;
};
struct control { /* struct cmsghdr, and the address that a datagram came to */
    word size;
    int level, type;
    byte data[32];
};

/* The compiler calls these two itself, and must not recognise them in their own loops. */
#define PLAIN_LOOP __attribute__((optimize("no-tree-loop-distribute-patterns")))
PLAIN_LOOP void *memset(void *to, int value, word size)
{
    byte *at = to;
    while (size--)
        *at++ = value;
    return to;
}

PLAIN_LOOP void *memcpy(void *to, const void *from, word size)
{
    byte *at = to;
    const byte *source = from;
    while (size--)
        *at++ = *source++;
    return to;
}
