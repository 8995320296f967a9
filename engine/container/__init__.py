"""From a specification to a process: bundles, capabilities, seccomp, devices, state files, logs."""
