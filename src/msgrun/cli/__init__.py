"""The commands: each parses its options, calls one service and chooses a printer."""
