"""Shows what happens: a live tree on a terminal, plain lines elsewhere, NDJSON for programs. It decides nothing."""
