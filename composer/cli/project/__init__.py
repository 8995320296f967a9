"""A project as commands see it: what it wants, what there is, and how it is changed."""
