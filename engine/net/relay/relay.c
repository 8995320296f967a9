/* Relays published ports where packet rules do not: connections and datagrams to listening sockets go on to containers.
 * relay.py starts it, with a SOCK_SEQPACKET socket as descriptor 0 and SIGPIPE ignored, and sends `struct message`s with
 * listening sockets. When that socket closes, so does everything here. No C library; see scripts/build_programs.py.
 *
 *     client ── near ──▶ buffer, or a pipe for streams ──▶ far ── container
 *
 * A listening socket serves one port; or it is an inlet, to which packet rules (tproxy) direct any number of ports: what
 * the client asked for then stands in `entries`. Answers to datagrams of an inlet leave through a raw socket, because only
 * that one sends from any port.
 *
 * All sockets are non-blocking and edge-triggered in one epoll: whoever gets an event works until it would block, or until its
 * turn is over; then it goes on after the others.
 */

#include "kernel.h"
#include "published.h"
#include "source.h"

enum { FDS = 65536, MOST_LISTENERS = 253, EVENTS = 64, BUFFER = 65536, PIPE = 1 << 18 };
enum { ACCEPTS = 16, ROUNDS = 16, DATAGRAMS = 32, MOST_PEERS = 1024, IDLE = 60, BUCKETS = 4096, RESERVED = 64 };
enum { FREE, LISTENER, NEAR, CONNECTING, FAR, RECEIVER, PEER }; /* kinds of descriptors */
enum { ADD = 1, REMOVE = 2, PUBLISH = 3 };                       /* kinds of messages */

struct listening { /* of a message, one for each descriptor that comes with it */
    half kind;     /* STREAM, DATAGRAM, or RAW: for the answers of the inlet of the same family */
    half protocol; /* 0, or IPPROTO_… */
    struct route to;
};
struct message {
    uint kind, group, count;
    uint keep; /* keep the capability that `route.keep` needs */
    union {
        struct listening listening[MOST_LISTENERS];
        struct published published[MOST_ENTRIES];
    };
};
struct side {        /* what a descriptor is, by its number */
    byte kind, tried;
    byte ended, shut; /* nothing more comes from it; that was passed on */
    byte plain, bulk; /* no splice(2) for its protocol; worth a pipe */
    byte again;       /* is in `ready` */
    byte closing;     /* an event said that its end or an error has come */
    uint life;        /* counted up when it closes: an event may be of the number's last owner */
    uint group;
    int peer;         /* the other socket; the listener, of a PEER */
    int in, out;      /* the pipe for what came from it; 0: none yet */
    uint held;        /* bytes in the pipe, or in `rest` */
    byte *rest;       /* what was read and the peer did not take; 0: nothing */
    uint passed;      /* bytes of it */
    uint peers;       /* of a RECEIVER */
    int entry;        /* PEER: what it came through an inlet for */
    int next;         /* PEER: the next in its bucket; LISTENER: the next that waits for descriptors */
    int older, newer; /* PEER: by its last datagram */
    long used;        /* seconds */
    half protocol;
    struct route to;        /* of a LISTENER, a RECEIVER, and a NEAR */
    struct address client;  /* of a PEER, with the control message to answer with */
    struct control from;
    struct address at;      /* of a PEER of an inlet: what the client sent to */
};

static struct side sides[FDS];
static int ready[FDS], readies, hungry, epoll, used;
static byte buffer[BUFFER];
static struct message incoming;

static long seconds(void)
{
    long now[2];
    call2(SYS_clock_gettime, 1, now); /* CLOCK_MONOTONIC */
    return now[0];
}

static void watch(int how, int fd, uint events)
{
    struct event event = {.events = events, .fd = fd, .life = sides[fd].life};
    call4(SYS_epoll_ctl, epoll, how, fd, &event);
}

/* A new descriptor has its place here; 0 where there is none for it. */
static struct side *place(long fd, int kind, uint group)
{
    struct side *side = &sides[fd];
    uint life = side->life;

    if (fd >= FDS - RESERVED) {
        call1(SYS_close, fd);
        return 0;
    }
    memset(side, 0, sizeof *side);
    side->life = life;
    side->kind = kind;
    side->group = group;
    if (fd >= used)
        used = fd + 1;
    return side;
}

static void shut(int fd)
{
    struct side *side = &sides[fd];

    if (side->in) {
        call1(SYS_close, side->in);
        call1(SYS_close, side->out);
    }
    if (side->rest)
        call2(SYS_munmap, side->rest, BUFFER);
    side->kind = FREE;
    side->life++;
    call1(SYS_close, fd);
}

/* Descriptors were freed: accept again. */
static void feed(void)
{
    while (hungry) {
        struct side *listener = &sides[hungry];
        if (listener->kind == LISTENER)
            watch(EPOLL_MOD, hungry, IN);
        hungry = listener->next;
        listener->next = 0;
    }
}

/* Both sockets of a connection; after an error the others are reset as well. */
static void finish(int fd, int failed)
{
    static const int reset[2] = {1, 0};
    int peer = sides[fd].peer;

    if (failed) {
        call5(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, reset, sizeof reset);
        call5(SYS_setsockopt, peer, SOL_SOCKET, SO_LINGER, reset, sizeof reset);
    }
    shut(fd);
    shut(peer);
    feed();
}

static void later(int fd)
{
    if (!sides[fd].again && readies < FDS) {
        sides[fd].again = 1;
        ready[readies++] = fd;
    }
}

/* A pipe for what comes from `side`; 0 where there are no descriptors. The kernel may make it smaller than we ask. */
static int has_pipe(struct side *side)
{
    int ends[2];

    if (!side->in) {
        if (call2(SYS_pipe2, ends, NONBLOCK | CLOEXEC) < 0)
            return 0;
        side->out = ends[0];
        side->in = ends[1];
        call3(SYS_fcntl, side->in, F_SETPIPE_SZ, PIPE);
    }
    return 1;
}

enum { BLOCKED, MORE, ENDED, FAILED };

/* Take once from the socket `fd`: into the pipe, or at once to the peer. */
static int take(int fd, struct side *side)
{
    long size, sent;

    if (side->bulk && has_pipe(side)) {
        size = call6(SYS_splice, fd, 0, side->in, 0, PIPE, SPLICE_MOVE | SPLICE_NONBLOCK);
        if (size == -EINVAL) { /* not with this protocol */
            side->plain = 1;
            side->bulk = 0;
            return MORE;
        }
        if (size > 0)
            side->held = size;
        return size > 0 ? MORE : !size ? ENDED : size == -EAGAIN || size == -EINTR ? BLOCKED : FAILED;
    }
    size = call3(SYS_read, fd, buffer, BUFFER);
    if (size <= 0)
        return !size ? ENDED : size == -EAGAIN || size == -EINTR ? BLOCKED : FAILED;
    side->bulk = size == BUFFER && !side->plain;
    sent = call6(SYS_sendto, side->peer, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (sent == -EAGAIN)
        sent = 0;
    if (sent < 0)
        return FAILED;
    if (sent < size) {
        long rest = call6(SYS_mmap, 0, BUFFER, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
        if (rest < 0 && rest >= -LAST_ERROR)
            return FAILED;
        side->rest = (byte *)rest;
        side->held = size - sent;
        side->passed = 0;
        memcpy(side->rest, buffer + sent, side->held);
        return MORE;
    }
    return size < BUFFER && !side->plain && !side->closing ? BLOCKED : MORE; /* what comes now makes an event */
}

/* Give the peer what is held. */
static int give(struct side *side)
{
    long size;

    while (side->held) {
        if (side->rest)
            size = call6(SYS_sendto, side->peer, side->rest + side->passed, side->held, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
        else
            size = call6(SYS_splice, side->out, 0, side->peer, 0, side->held, SPLICE_MOVE | SPLICE_NONBLOCK);
        if (size <= 0)
            return size == -EAGAIN || size == -EINTR ? BLOCKED : FAILED; /* the peer has an event when it has room */
        side->held -= size;
        side->passed += size;
    }
    if (side->rest)
        call2(SYS_munmap, side->rest, BUFFER);
    side->rest = 0;
    return MORE;
}

/* Pass on what comes from `fd`, until there is nothing more or its turn is over. */
static void pass(int fd)
{
    struct side *side = &sides[fd];
    int round, found;

    for (round = 0; round < ROUNDS; round++) {
        found = give(side);
        if (found == BLOCKED)
            return;
        if (found == FAILED) {
            finish(fd, 1);
            return;
        }
        if (side->ended) {
            if (!side->shut) {
                side->shut = 1;
                call2(SYS_shutdown, side->peer, SHUT_WR);
                if (sides[side->peer].shut)
                    finish(fd, 0);
            }
            return;
        }
        found = take(fd, side);
        if (found == BLOCKED)
            return;
        if (found == FAILED) {
            finish(fd, 1);
            return;
        }
        side->ended = found == ENDED;
    }
    later(fd);
}

/* A socket that connects to the target, for `near`; negative: an error. */
static long connection(int near, struct route *to, int number, int its_port)
{
    struct side *side = &sides[near], *far;
    struct address client = {0}, *target = &to->target[number];
    uint size = sizeof client;
    long result, fd = call3(SYS_socket, target->family, STREAM | NONBLOCK | CLOEXEC, side->protocol);

    if (fd < 0 || !(far = place(fd, CONNECTING, side->group)))
        return -EMFILE;
    if (side->protocol == TCP) {
        option(fd, TCP, TCP_NODELAY, 1);
        option(fd, TCP, TCP_SYNCNT, 3); /* gives up after 15 seconds */
    }
    option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (to->keep && call3(SYS_getpeername, near, &client, &size) >= 0 && distant(&client, target, to->bits[number]))
        impersonate(fd, &client, its_port);
    far->plain = side->plain;
    far->peer = near;
    side->peer = fd;
    result = call3(SYS_connect, fd, target, length(target));
    if (!result || result == -EINPROGRESS)
        return fd;
    shut(fd);
    return result;
}

/* Connect `near` with the next of its targets. */
static void reach(int near)
{
    struct side *side = &sides[near];
    struct route *to = &side->to;

    while (side->tried < to->targets) {
        long fd = connection(near, to, side->tried, 1);
        if (fd == -EADDRNOTAVAIL && to->keep) /* the last connection from this port has just ended */
            fd = connection(near, to, side->tried, 0);
        side->tried++;
        if (fd >= 0) {
            watch(EPOLL_ADD, fd, IN | OUT | RDHUP | EDGE);
            return;
        }
        if (fd != -ECONNREFUSED)
            break;
    }
    shut(near);
    feed();
}

static void connected(int fd, uint events)
{
    struct side *far = &sides[fd];
    int near = far->peer, error = 0, size = sizeof error;

    if (!(events & (OUT | ERR | HUP)))
        return;
    call5(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        shut(fd);
        if (error == ECONNREFUSED)
            reach(near);
        else {
            shut(near);
            feed();
        }
        return;
    }
    far->kind = FAR;
    watch(EPOLL_ADD, near, IN | OUT | RDHUP | EDGE);
    if (events & (IN | RDHUP))
        later(fd);
    far->closing = !!(events & RDHUP);
    pass(near);
}

static void welcome(int fd)
{
    struct side *listener = &sides[fd], *side;
    int count;

    for (count = 0; count < ACCEPTS; count++) {
        long near = call4(SYS_accept4, fd, 0, 0, NONBLOCK | CLOEXEC);
        if (near == -EMFILE || near == -ENFILE || near == -ENOBUFS || near == -ENOMEM) {
            watch(EPOLL_MOD, fd, 0);
            listener->next = hungry;
            hungry = fd;
            return;
        }
        if (near < 0)
            return;
        if ((side = place(near, NEAR, listener->group))) {
            side->protocol = listener->protocol;
            side->plain = side->protocol != TCP;
            side->to = listener->to;
            if (!side->plain)
                option(near, TCP, TCP_NODELAY, 1);
            if (!listener->to.targets) {
                struct address at = {0};
                uint size = sizeof at;
                struct entry *entry;
                call3(SYS_getsockname, near, &at, &size);
                entry = &entries[find(side->protocol, &at)];
                side->group = entry->group;
                side->to = entry->is.to;
            }
            reach(near);
        }
    }
}

#include "datagrams.h"

static void listen_to(int fd, uint group, const struct listening *to)
{
    struct side *side;

    if (to->kind == RAW) {
        raw[to->protocol == AF_INET6] = fd;
        return;
    }
    side = place(fd, to->kind == DATAGRAM ? RECEIVER : LISTENER, group);
    if (!side)
        return;
    side->to = to->to;
    side->protocol = to->protocol;
    if (side->kind == RECEIVER && !side->to.targets) {
        option(fd, 0, IP_RECVORIGDSTADDR, 1);
        option(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1);
    } else if (side->kind == RECEIVER) {
        option(fd, 0, IP_PKTINFO, 1);
        option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else
        option(fd, SOL_SOCKET, SO_KEEPALIVE, 1); /* for those that it accepts */
    watch(EPOLL_ADD, fd, IN);
}

static void leave(uint group)
{
    int fd;

    feed();
    for (fd = 1; fd < used; fd++)
        if (sides[fd].kind == PEER && sides[fd].group == group)
            forget(fd);
    for (fd = 1; fd < used; fd++)
        if (sides[fd].kind != FREE && sides[fd].group == group)
            shut(fd);
    withdraw(group);
    while (used > 1 && sides[used - 1].kind == FREE)
        used--;
}

/* Give up all capabilities but these. */
static void drop(uint kept)
{
    static const uint head[2] = {CAPABILITIES, 0};
    uint sets[6] = {kept, kept}; /* effective, permitted, inheritable */

    call2(SYS_capset, head, sets);
}

static void command(void)
{
    struct {
        word size;
        int level, type;
        int fds[MOST_LISTENERS];
    } rights;
    struct vector vector = {&incoming, sizeof incoming};
    struct header header = {0, 0, 0, &vector, 1, &rights, sizeof rights, 0};
    long size = call3(SYS_recvmsg, 0, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    uint count, i;

    if (size == -EAGAIN || size == -EINTR)
        return;
    if (size <= 0)
        call1(SYS_exit_group, 0);
    if (!incoming.keep)
        drop(0);
    if (incoming.kind == PUBLISH)
        for (i = 0; i < incoming.count && i < MOST_ENTRIES; i++)
            publish(incoming.group, &incoming.published[i]);
    count = header.control_size > 16 && rights.type == SCM_RIGHTS ? (rights.size - 16) / 4 : 0;
    for (i = 0; i < count; i++)
        if (incoming.kind == ADD && i < incoming.count)
            listen_to(rights.fds[i], incoming.group, &incoming.listening[i]);
        else
            call1(SYS_close, rights.fds[i]);
    if (incoming.kind == REMOVE) {
        leave(incoming.group);
        call6(SYS_sendto, 0, &incoming.group, sizeof incoming.group, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    }
}

static void serve(int fd, uint events)
{
    struct side *side = &sides[fd];
    uint life = side->life;
    int peer = side->peer;

    switch (side->kind) {
    case LISTENER:
        welcome(fd);
        break;
    case RECEIVER:
        receive(fd);
        break;
    case PEER:
        answer(fd);
        break;
    case CONNECTING:
        connected(fd, events);
        break;
    case NEAR:
    case FAR:
        side->closing |= !!(events & (RDHUP | ERR | HUP));
        if (events & (IN | RDHUP | ERR | HUP))
            pass(fd);
        if (events & OUT && side->kind != FREE && side->life == life && sides[peer].held)
            pass(peer);
        break;
    }
}

__attribute__((noreturn, used)) void run(void)
{
    static struct event events[EVENTS];
    static word limit[2];
    int i, count;

    call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, limit);
    limit[0] = limit[1] < FDS ? limit[1] : FDS;
    call4(SYS_prlimit64, 0, RLIMIT_NOFILE, limit, 0);
    drop(NET_RAW);
    epoll = call1(SYS_epoll_create1, CLOEXEC);
    watch(EPOLL_ADD, 0, IN);
    for (;;) {
        int waiting = readies;
        count = call6(SYS_epoll_pwait, epoll, events, EVENTS, readies ? 0 : hungry ? 100 : oldest ? IDLE * 1000 : -1, 0, 8);
        if (!count && hungry)
            feed(); /* others may have closed theirs */
        for (i = 0; i < count; i++)
            if (!events[i].fd)
                command();
            else if (events[i].life == sides[events[i].fd].life)
                serve(events[i].fd, events[i].events);
        for (i = 0; i < waiting; i++) {
            int fd = ready[i];
            sides[fd].again = 0;
            if (sides[fd].kind == NEAR || sides[fd].kind == FAR)
                pass(fd);
        }
        for (i = waiting; i < readies; i++)
            ready[i - waiting] = ready[i];
        readies -= waiting;
        if (oldest)
            for (long now = seconds(); oldest && now - sides[oldest].used > IDLE;)
                forget(oldest);
    }
}
