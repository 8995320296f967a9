/* Forwards TCP connections: the only program of the container that stands for a provided service.
 * RELAY_ROUTES in its environment lists the routes: PORT=HOST:PORT[,…]. It listens on each PORT and connects each client to
 * HOST:PORT, which it looks up again for every connection: in /etc/hosts, then with the nameserver in /etc/resolv.conf.
 * The end of one direction is passed on, and the other one continues. No C library; see scripts/build_programs.py.
 *
 *     client ── one process ──▶ ◀── another ── endpoint
 */

#include "../../net/relay/kernel.h"

#if defined(__x86_64__)
enum { SYS_openat = 257, SYS_listen = 50, SYS_clone = 56, SYS_ppoll = 271, SYS_rt_sigaction = 13 };
#else
enum { SYS_openat = 56, SYS_listen = 201, SYS_clone = 220, SYS_ppoll = 73, SYS_rt_sigaction = 134 };
#endif
enum { HERE = -100, SIGCHLD = 17, SIGPIPE = 13, IGNORE = 1, IPV6_V6ONLY = 26, SIGNAL_SET = 8 };
enum { MOST_ROUTES = 256, TEXT = 65536, NAME = 256, BACKLOG = 512, SECONDS = 5, DNS_PORT = 53, A = 1, AAAA = 28 };

struct route {
    half port;       /* in network order, as `to` */
    half to;
    char host[NAME]; /* "": an address that was written as such, in `address` */
    struct address address;
    int listener;
};
struct polled { /* struct pollfd */
    int fd;
    short wanted, got;
};
struct action { /* struct sigaction of the kernel */
    word handler, flags, restorer, mask;
};

static struct route routes[MOST_ROUTES];
static int count;
static byte text[TEXT], data[TEXT];
static word held; /* bytes in `text` */

static word length(const char *of)
{
    word size = 0;
    while (of[size])
        size++;
    return size;
}

static char *after(const char *start, char *of)
{
    while (*start && *start == *of)
        start++, of++;
    return *start ? 0 : of;
}

static int is(const char *one, const char *other)
{
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

static void say(const char *what, const char *of)
{
    call3(SYS_write, 2, what, length(what));
    call3(SYS_write, 2, of, length(of));
    call3(SYS_write, 2, "\n", 1);
}

static void fail(const char *what, const char *of)
{
    say(what, of);
    call1(SYS_exit_group, 1);
}

static half swapped(uint number)
{
    return (half)(number << 8 | (number >> 8 & 0xff));
}

/* The whole file as a string, cut off at the size of the buffer. */
static char *contents(const char *path)
{
    long file = call4(SYS_openat, HERE, path, CLOEXEC, 0), got;
    held = 0;
    if (file >= 0) {
        while (held < TEXT - 1 && (got = call3(SYS_read, file, text + held, TEXT - 1 - held)) > 0)
            held += got;
        call1(SYS_close, file);
    }
    text[held] = 0;
    return (char *)text;
}

/* The next word before one of the separators, which ends it; 0 after the last one. */
static char *next(char **at, const char *separators)
{
    char *start = *at, *one;
    if (!start)
        return 0;
    for (; **at; ++*at)
        for (one = (char *)separators; *one; one++)
            if (**at == *one) {
                *(*at)++ = 0;
                return start;
            }
    *at = 0;
    return start;
}

static int decimal(const char *from, uint most)
{
    uint number = 0;
    if (!*from)
        return -1;
    for (; *from; from++) {
        if (*from < '0' || *from > '9' || (number = number * 10 + (*from - '0')) > most)
            return -1;
    }
    return (int)number;
}

static int v4(const char *from, byte *to)
{
    int part, digits;
    uint number;
    for (part = 0; part < 4; part++) {
        for (number = 0, digits = 0; *from >= '0' && *from <= '9' && digits < 4; from++, digits++)
            number = number * 10 + (*from - '0');
        if (!digits || number > 255 || *from != (part < 3 ? '.' : 0))
            return 0;
        from++;
        to[part] = (byte)number;
    }
    return 1;
}

static int v6(const char *from, byte *to)
{
    byte found[16];
    int at = 0, gap = -1, digits, digit;
    uint number;
    if (from[0] == ':' && from[1] == ':')
        gap = 0, from += 2;
    while (*from && at < 16) {
        for (number = 0, digits = 0; digits < 4; from++, digits++, number = number << 4 | (uint)digit)
            if (*from >= '0' && *from <= '9')
                digit = *from - '0';
            else if ((*from | 32) >= 'a' && (*from | 32) <= 'f')
                digit = (*from | 32) - 'a' + 10;
            else
                break;
        if (!digits)
            return 0;
        found[at++] = (byte)(number >> 8);
        found[at++] = (byte)number;
        if (!*from)
            break;
        if (*from++ != ':')
            return 0;
        if (*from == ':' && gap < 0)
            gap = at, from++;
        else if (!*from)
            return 0;
    }
    if (*from || (gap < 0 ? at != 16 : at > 14))
        return 0;
    memset(to, 0, 16);
    memcpy(to, found, gap < 0 ? 16 : (word)gap);
    if (gap >= 0)
        memcpy(to + 16 - (at - gap), found + gap, (word)(at - gap));
    return 1;
}

/* sockaddr_in: port, address; sockaddr_in6: port, flow, address, scope */
static int numeric(const char *host, struct address *to)
{
    memset(to, 0, sizeof *to);
    to->family = v4(host, to->rest + 2) ? AF_INET : v6(host, to->rest + 6) ? AF_INET6 : 0;
    return to->family;
}

static long connected(const struct address *to, int kind)
{
    long one = call3(SYS_socket, to->family, kind | CLOEXEC, 0), result;
    if (one < 0)
        return one;
    result = call3(SYS_connect, one, to, to->family == AF_INET ? 16 : 28);
    if (result < 0) {
        call1(SYS_close, one);
        return result;
    }
    return one;
}

static long reached(const struct route *route, struct address *to)
{
    memcpy(to->rest, &route->to, sizeof route->to);
    return connected(to, STREAM);
}

/* A connection to an address that /etc/hosts has for the name. */
static long from_hosts(const struct route *route)
{
    char *at = contents("/etc/hosts"), *line, *address, *name;
    struct address to;
    long one = -1;
    while (one < 0 && (line = next(&at, "\n"))) {
        for (name = line; *name; name++)
            if (*name == '#')
                *name = 0;
        address = next(&line, " \t");
        while (one < 0 && (name = next(&line, " \t")))
            if (is(name, route->host) && numeric(address, &to))
                one = reached(route, &to);
    }
    return one;
}

/* After the name at this place of a DNS message of this size. */
static word after_name(const byte *message, word at, word size)
{
    while (at < size && message[at] && message[at] < 0xc0)
        at += message[at] + 1u;
    return at < size && message[at] ? at + 2 : at + 1;
}

/* A connection to an address with which the nameserver answers the question for this type of record (RFC 1035). */
static long from_dns(const struct route *route, byte type, const struct address *server)
{
    byte *message = data;
    word size = 12, label, at, answers, length, i;
    struct polled polled;
    struct address to;
    long nameserver, found = -1, wait[2] = {SECONDS, 0};
    memset(message, 0, 12);
    message[1] = type, message[2] = 1, message[5] = 1; /* an id; recursion desired; one question */
    for (label = size++, i = 0; route->host[i]; i++)
        if (route->host[i] == '.') {
            message[label] = (byte)(size - label - 1);
            label = size++;
        } else
            message[size++] = (byte)route->host[i];
    message[label] = (byte)(size - label - 1);
    if (message[label])
        message[size++] = 0;
    message[size++] = 0, message[size++] = type, message[size++] = 0, message[size++] = 1;
    if ((nameserver = connected(server, DATAGRAM)) < 0)
        return nameserver;
    polled.fd = (int)nameserver, polled.wanted = IN;
    call6(SYS_sendto, nameserver, message, size, 0, 0, 0);
    size = call5(SYS_ppoll, &polled, 1, wait, 0, SIGNAL_SET) == 1 ? (word)call3(SYS_read, nameserver, message, TEXT) : 0;
    call1(SYS_close, nameserver);
    if ((long)size < 12 || message[1] != type)
        return -1;
    answers = (word)message[6] << 8 | message[7];
    at = after_name(message, 12, size) + 4;
    for (i = 0; found < 0 && i < answers && at + 12 < size; i++, at += 10 + length) {
        at = after_name(message, at, size);
        length = at + 10 <= size ? (word)message[at + 8] << 8 | message[at + 9] : TEXT;
        if (at + 10 + length > size)
            break;
        memset(&to, 0, sizeof to);
        to.family = type == A ? AF_INET : AF_INET6;
        if (message[at] == 0 && message[at + 1] == type && length == (type == A ? 4 : 16)) {
            memcpy(to.rest + (type == A ? 2 : 6), message + at + 10, length);
            found = reached(route, &to);
        }
    }
    return found;
}

static long from_name(const struct route *route)
{
    char *at = contents("/etc/resolv.conf"), *line, *word;
    struct address server;
    half port = swapped(DNS_PORT);
    long one = -1;
    while (one < 0 && (line = next(&at, "\n"))) {
        word = next(&line, " \t");
        if (!is(word, "nameserver") || !line || !numeric(next(&line, " \t"), &server))
            continue;
        memcpy(server.rest, &port, sizeof port);
        if ((one = from_dns(route, A, &server)) < 0)
            one = from_dns(route, AAAA, &server);
    }
    return one;
}

/* Copy until the end, and pass that on. */
static void copy(long from, long to)
{
    long got, done, sent;
    while ((got = call3(SYS_read, from, data, TEXT)) > 0)
        for (done = 0; done < got; done += sent)
            if ((sent = call3(SYS_write, to, data + done, got - done)) <= 0) {
                call2(SYS_shutdown, from, 0);
                call1(SYS_exit_group, 0);
            }
    call2(SYS_shutdown, to, SHUT_WR);
}

static void serve(struct route *route, long client)
{
    int on = 1;
    struct address to = route->address;
    long endpoint = route->host[0] ? from_hosts(route) : reached(route, &to);
    if (endpoint < 0 && route->host[0])
        endpoint = from_name(route);
    if (endpoint < 0) {
        say("cannot connect to ", route->host[0] ? route->host : "the endpoint");
        call1(SYS_exit_group, 1);
    }
    call5(SYS_setsockopt, client, TCP, TCP_NODELAY, &on, sizeof on);
    call5(SYS_setsockopt, endpoint, TCP, TCP_NODELAY, &on, sizeof on);
    if (call5(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
        copy(client, endpoint);
    else
        copy(endpoint, client);
    call1(SYS_exit_group, 0);
}

/* PORT=HOST:PORT, or PORT=[ADDRESS]:PORT */
static void add(char *from)
{
    struct route *route = &routes[count];
    char *port = next(&from, "="), *host = from, *at, *to = 0;
    int number = decimal(port, 65535), target;
    for (at = host; at && *at; at++)
        if (*at == ':')
            to = at;
    if (number <= 0 || !to || count == MOST_ROUTES)
        fail("RELAY_ROUTES is wrong at port ", port);
    *to++ = 0;
    if ((target = decimal(to, 65535)) <= 0 || to - host > NAME)
        fail("RELAY_ROUTES is wrong at port ", port);
    if (*host == '[' && to[-2] == ']')
        host++, to[-2] = 0;
    route->port = swapped((uint)number), route->to = swapped((uint)target);
    if (!numeric(host, &route->address))
        memcpy(route->host, host, length(host) + 1);
    count++;
}

static void listen(struct route *route)
{
    struct address here;
    int on = 1, off = 0;
    long one = call3(SYS_socket, AF_INET6, STREAM | CLOEXEC | NONBLOCK, 0);
    memset(&here, 0, sizeof here);
    here.family = one < 0 ? AF_INET : AF_INET6;
    if (one < 0)
        one = call3(SYS_socket, AF_INET, STREAM | CLOEXEC | NONBLOCK, 0);
    memcpy(here.rest, &route->port, sizeof route->port);
    call5(SYS_setsockopt, one, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (here.family == AF_INET6)
        call5(SYS_setsockopt, one, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (call3(SYS_bind, one, &here, here.family == AF_INET ? 16 : 28) < 0 || call2(SYS_listen, one, BACKLOG) < 0)
        fail("cannot listen for ", route->host[0] ? route->host : "the endpoint");
    route->listener = (int)one;
}

static char *routes_given(void)
{
    static char given[TEXT];
    char *at = contents("/proc/self/environ"), *end = at + held, *value;
    for (; at < end; at += length(at) + 1)
        if ((value = after("RELAY_ROUTES=", at))) {
            memcpy(given, value, length(value) + 1);
            return given;
        }
    return 0;
}

void run(void)
{
    static struct polled polled[MOST_ROUTES];
    struct action action = {IGNORE, 0, 0, 0};
    char *given = routes_given(), *one;
    int i;
    if (!given || !*given)
        fail("RELAY_ROUTES is not set: PORT=HOST:PORT[,...]", "");
    call4(SYS_rt_sigaction, SIGPIPE, &action, 0, SIGNAL_SET);
    call4(SYS_rt_sigaction, SIGCHLD, &action, 0, SIGNAL_SET); /* nobody waits for them */
    while ((one = next(&given, ",")))
        add(one);
    for (i = 0; i < count; i++) {
        listen(&routes[i]);
        polled[i].fd = routes[i].listener, polled[i].wanted = IN;
    }
    for (;;) {
        if (call5(SYS_ppoll, polled, count, 0, 0, SIGNAL_SET) <= 0)
            continue;
        for (i = 0; i < count; i++) {
            long client = polled[i].got ? call4(SYS_accept4, polled[i].fd, 0, 0, CLOEXEC) : -1;
            if (client < 0)
                continue;
            if (call5(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
                serve(&routes[i], client);
            call1(SYS_close, client);
        }
    }
}
