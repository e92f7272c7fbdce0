"""Printers of events and results: live view, plain text, JSON, CSV."""
