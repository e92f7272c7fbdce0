"""What comes back: delivery status notifications, read from mailboxes and files."""
