"""System call filters: the default profile, and profiles in Docker's format, compiled to BPF and cached."""
