"""Long forms, paths, what is meant without being said, and the canonical tree."""
