"""Jobs in the supervisor: registrations, schedules, and records of runs."""
