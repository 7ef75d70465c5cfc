"""A small app that shows what the platform gave it: its database, its cache, its name."""
