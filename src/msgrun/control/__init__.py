"""What a person or cron asks of runs: start, stop, restart, cancel."""
