"""A run's report as a page, as text, as JSON and as CSV."""
