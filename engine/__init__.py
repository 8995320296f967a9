"""A container engine: namespaces, cgroups, overlayfs, networks, images. It knows nothing of compose."""
