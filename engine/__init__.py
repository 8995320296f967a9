"""A container engine: namespaces, cgroups, overlayfs, networks, images. It is independent of compose."""
