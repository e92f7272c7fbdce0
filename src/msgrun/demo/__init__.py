"""The demo: sample data with planted faults, and a local mail server that keeps what it gets."""
