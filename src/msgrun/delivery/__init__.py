"""Draining a run: claim, compose, send, record."""
