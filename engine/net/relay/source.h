/* For relay.c: connections to a container that come from the client's address. */

static void option(int fd, int level, int name, int value) { call5(SYS_setsockopt, fd, level, name, &value, sizeof value); }

/* Whether a container answers a packet with this source through its gateway: not what it takes for itself or a neighbour. */
static int distant(struct address *client, struct address *target, uint bits)
{
    static const byte local[16] = {[15] = 1};
    byte *one = host(client), *other = host(target);

    if (client->family != target->family)
        return 0;
    if (client->family == AF_INET6 ? same(one, local, 16) || (*one == 0xfe && (one[1] & 0xc0) == 0x80) : *one == 127)
        return 0;
    if (!same(one, other, bits / 8))
        return 1;
    return bits % 8 ? (one[bits / 8] ^ other[bits / 8]) >> (8 - bits % 8) : 0;
}

/* Have the socket send from the client's address: from its port, or where that is taken from any. */
static void impersonate(int fd, const struct address *client, int its_port)
{
    struct address from = *client;
    int v6 = client->family == AF_INET6;

    option(fd, v6 ? IPPROTO_IPV6 : 0, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1);
    if (its_port)
        option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (its_port && call3(SYS_bind, fd, &from, length(&from)) >= 0)
        return;
    from.rest[0] = from.rest[1] = 0;
    call3(SYS_bind, fd, &from, length(&from));
}
