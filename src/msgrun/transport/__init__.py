"""How mail leaves: SMTP, `.eml` files, and a public in-memory fake."""
