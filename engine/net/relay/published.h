/* For relay.c: the ports that come through an inlet, and where each leads. */

enum { MOST_TARGETS = 2, ENTRIES = 1 << 18, MOST_ENTRIES = 180, SLOTS = 4096 };

struct route {
    byte targets;            /* 0: an inlet, see `entries` */
    byte keep;               /* the container sees the client's address, where its network allows that */
    byte bits[MOST_TARGETS]; /* lengths of the prefixes of the targets' networks */
    struct address target[MOST_TARGETS]; /* the first that does not refuse is taken */
};
struct published { /* of a message: a port that comes through an inlet */
    half family, protocol;
    byte port[2], address[16]; /* all zero: every address */
    struct route to;
};
struct entry {
    struct published is;
    uint group, peers;
    int next; /* in its slot, or free */
};

static struct entry entries[ENTRIES]; /* from 1 */
static int slots[SLOTS], entries_used, entries_free;

static int same(const void *one, const void *other, word size)
{
    const byte *a = one, *b = other;
    while (size--)
        if (*a++ != *b++)
            return 0;
    return 1;
}

static uint length(const struct address *address) { return address->family == AF_INET6 ? 28 : 16; }

static byte *host(struct address *address) { return address->rest + (address->family == AF_INET6 ? 6 : 2); }

static int slot(half protocol, const byte *port) { return ((port[0] << 8 | port[1]) ^ protocol << 4) % SLOTS; }

/* What is published at the address; 0: nothing. A port of this address comes before one of every address. */
static int find(half protocol, struct address *at)
{
    static const byte every[16];
    int number, found = 0;

    for (number = slots[slot(protocol, at->rest)]; number; number = entries[number].next) {
        struct published *is = &entries[number].is;
        if (is->family != at->family || is->protocol != protocol || !same(is->port, at->rest, 2))
            continue;
        if (same(is->address, host(at), at->family == AF_INET6 ? 16 : 4))
            return number;
        if (same(is->address, every, sizeof every))
            found = number;
    }
    return found;
}

static void publish(uint group, const struct published *is)
{
    int *head = &slots[slot(is->protocol, is->port)], number = entries_free;

    if (number)
        entries_free = entries[number].next;
    else if (entries_used < ENTRIES - 1)
        number = ++entries_used;
    else
        return;
    entries[number] = (struct entry){*is, group, 0, *head};
    *head = number;
}

static void withdraw(uint group)
{
    int number, *at;

    for (number = 1; number <= entries_used; number++) {
        struct entry *entry = &entries[number];
        if (!entry->group || entry->group != group)
            continue;
        at = &slots[slot(entry->is.protocol, entry->is.port)];
        while (*at != number)
            at = &entries[*at].next;
        *at = entry->next;
        entry->group = 0;
        entry->next = entries_free;
        entries_free = number;
    }
}
