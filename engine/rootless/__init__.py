"""The engine for an ordinary user: all of it runs in one user, mount and network namespace of that user.

    host's namespaces                                │ the user's namespace: we are uid 0 there
      composer ps ──(join)──▶ <run>/rootless.sock    │
         │ setns(user, mount, network) ──────────────┼▶ composer ps (the same process)
      main.py ── keeps the namespace, binds ports ───┼▶ supervisor, with the host's listening sockets
         │   └─ slirp4netns or pasta ── tap ─────────┼▶ keeper, containers, bridges, rules as for root
         └─ pause ───────────────────────────────────┼▶ (a process, so that the namespace survives main.py)

Inside, everything works as for root, on a separate network: bridges, veth pairs, packet rules, overlays. Features that
an ordinary user cannot have are reported on use: ports below 1024, devices, limits without a delegated cgroup.
"""
