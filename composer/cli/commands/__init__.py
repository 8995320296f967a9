"""One file per command: `COMMAND` describes its flags, `run` carries it out."""
