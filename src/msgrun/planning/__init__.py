"""Planning: who gets what, who is skipped and why. Set-based, in TEMP tables of one connection."""
