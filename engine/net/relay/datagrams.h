/* For relay.c: datagrams. Each client of a port has a socket of its own on the container's side. */

static int buckets[BUCKETS], oldest, newest, raw[2];

static int bucket(int receiver, const struct address *client)
{
    uint hash = receiver, i;

    for (i = 0; i < length(client) - 2; i++)
        hash = hash * 31 + client->rest[i];
    return hash % BUCKETS;
}

static void unlink(int fd)
{
    struct side *side = &sides[fd];

    if (side->older)
        sides[side->older].newer = side->newer;
    else
        oldest = side->newer;
    if (side->newer)
        sides[side->newer].older = side->older;
    else
        newest = side->older;
}

static void touch(int fd)
{
    struct side *side = &sides[fd];

    side->used = seconds();
    side->newer = 0;
    side->older = newest;
    if (newest)
        sides[newest].newer = fd;
    else
        oldest = fd;
    newest = fd;
}

/* How many clients there are of a receiver, or of a port that comes through an inlet. */
static uint *count_of(int receiver, int entry) { return entry ? &entries[entry].peers : &sides[receiver].peers; }

static void forget(int fd)
{
    struct side *side = &sides[fd];
    int *at = &buckets[bucket(side->peer, &side->client)];

    while (*at && *at != fd)
        at = &sides[*at].next;
    if (*at)
        *at = side->next;
    unlink(fd);
    (*count_of(side->peer, side->entry))--;
    shut(fd);
    feed();
}

/* The socket that stands for this client of the receiver, which sent to `at` if that is an inlet; 0 where there is none. */
static int peer_of(int fd, struct address *client, const struct control *from, struct address *at)
{
    struct side *receiver = &sides[fd], *side;
    int head = bucket(fd, client), found, entry = 0;
    uint group = receiver->group;
    struct route *to = &receiver->to;
    long made;

    for (found = buckets[head]; found; found = sides[found].next)
        if (sides[found].peer == fd && same(&sides[found].client, client, length(client)) &&
            same(&sides[found].at, at, length(at))) {
            unlink(found);
            touch(found);
            return found;
        }
    if (!to->targets) {
        if (!(entry = find(UDP, at)))
            return 0;
        group = entries[entry].group;
        to = &entries[entry].is.to;
    }
    if (*count_of(fd, entry) >= MOST_PEERS) {
        /* The one that has been silent for longest makes room. */
        for (found = oldest; found && (sides[found].peer != fd || sides[found].entry != entry); found = sides[found].newer)
            ;
        if (!found)
            return 0;
        forget(found);
    }
    made = call3(SYS_socket, to->target[0].family, DATAGRAM | NONBLOCK | CLOEXEC, 0);
    if (made == -EMFILE && oldest) {
        forget(oldest);
        made = call3(SYS_socket, to->target[0].family, DATAGRAM | NONBLOCK | CLOEXEC, 0);
    }
    if (made < 0 || !(side = place(made, PEER, group)))
        return 0;
    if (to->keep && distant(client, &to->target[0], to->bits[0]))
        impersonate(made, client, 1);
    if (call3(SYS_connect, made, &to->target[0], length(&to->target[0])) < 0) {
        shut(made);
        return 0;
    }
    (*count_of(fd, entry))++;
    side->peer = fd;
    side->entry = entry;
    side->client = *client;
    side->from = *from;
    side->at = *at;
    side->next = buckets[head];
    buckets[head] = made;
    touch(made);
    watch(EPOLL_ADD, made, IN);
    return made;
}

/* The control message that sends from this address. */
static struct control address_as_control(struct address *at)
{
    struct control from = {.level = at->family == AF_INET6 ? IPPROTO_IPV6 : 0};

    if (at->family == AF_INET6) {
        from.type = IPV6_PKTINFO;
        from.size = CONTROL_HEAD + 20;
        memcpy(from.data, host(at), 20); /* with the link, where the address needs one */
    } else {
        from.type = IP_PKTINFO;
        from.size = CONTROL_HEAD + 12;
        memcpy(from.data + 4, host(at), 4);
    }
    return from;
}

static void receive(int fd)
{
    int count;

    for (count = 0; count < DATAGRAMS; count++) {
        struct address client = {0};
        struct address at = {0};
        struct control from = {0};
        struct vector vector = {buffer, BUFFER};
        struct header header = {&client, sizeof client, 0, &vector, 1, &from, sizeof from, 0};
        long size = call3(SYS_recvmsg, fd, &header, MSG_DONTWAIT);
        int peer;
        if (size == -EAGAIN)
            return;
        if (size < 0)
            continue;
        if (header.control_size < LEAST_CONTROL)
            from.size = 0;
        else if (!sides[fd].to.targets)
            from = address_as_control(memcpy(&at, from.data, from.size - CONTROL_HEAD));
        else if (from.type == IP_PKTINFO && from.level == 0)
            *(uint *)from.data = 0; /* by the route, from the address that it came to */
        if ((peer = peer_of(fd, &client, &from, &at)))
            call6(SYS_sendto, peer, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    }
}

/* Send what `header` has with a header of UDP (RFC 768). The kernel adds the checksum for IPv6; IPv4 needs none. */
static void answer_raw(const struct side *side, struct header *header, long size)
{
    struct address to = side->client;
    uint whole = size + 8;
    byte udp[8] = {side->at.rest[0], side->at.rest[1], to.rest[0], to.rest[1], whole >> 8, whole};
    struct vector vectors[2] = {{udp, sizeof udp}, header->vectors[0]};

    to.rest[0] = to.rest[1] = 0;
    header->name = &to;
    header->vectors = vectors;
    header->count = 2;
    call3(SYS_sendmsg, raw[to.family == AF_INET6], header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void answer(int fd)
{
    struct side *side = &sides[fd];
    int count;

    for (count = 0; count < DATAGRAMS; count++) {
        long size = call3(SYS_read, fd, buffer, BUFFER);
        if (size == -EAGAIN)
            break;
        if (size < 0)
            continue; /* refused: the container may listen later */
        struct vector vectors[2] = {{buffer, size}};
        struct header header = {&side->client, length(&side->client), 0, vectors, 1, &side->from, side->from.size, 0};
        if (!side->from.size)
            header.control = 0;
        if (side->entry)
            answer_raw(side, &header, size);
        else
            call3(SYS_sendmsg, side->peer, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    unlink(fd);
    touch(fd);
}
