"""Sharing build caches between machines: cache_from and cache_to, in BuildKit's format.

A cache is a manifest whose configuration lists records and the chains of layers that they produced. Only BuildKit can
compute the keys of its records, and only we those of ours: each reads the other's caches, but finds no usable step in
them.
"""
