"""Named and anonymous volumes of the local driver."""
