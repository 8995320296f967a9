"""Directory trees that nobody trusts: walked, removed and copied by descriptors, at any depth."""
