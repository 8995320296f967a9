"""Publishing a project to a registry: the files to push, and the confirmation before."""
