"""The ledger: what was planned, tried, answered. The only writer of run and message state."""
