"""Run and diagnose message runs: the bulk e-mailing of invoices."""

__version__ = "0.1.0"
