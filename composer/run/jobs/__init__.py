"""Jobs in the supervisor: what is registered, when it fires, what became of each run."""
