"""The city and everything derived from it by pure functions: frozen values, no I/O."""
