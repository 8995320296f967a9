"""What is wrong with a project, and what of it has no effect."""
