"""Configuration: one `msgrun.toml`, overridden by `MSGRUN_…` environment variables."""
