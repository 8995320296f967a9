"""Control groups: v2, v1 and hybrid (cgroups(7), Documentation/admin-guide/cgroup-v2.rst)."""
