"""Publishing a project to a registry: what is sent, and what is asked before it is."""
