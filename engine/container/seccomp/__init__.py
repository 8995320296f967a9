"""System call filters: which are refused by default, profiles in Docker's format, compiled to BPF and cached."""
