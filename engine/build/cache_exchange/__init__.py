"""The build cache of other machines: cache_from and cache_to, in BuildKit's format.

A cache is a manifest whose configuration lists records and the chains of layers that they made. BuildKit's records and
ours have keys that only their maker can compute: each reads the other's caches and finds nothing of use in them.
"""
