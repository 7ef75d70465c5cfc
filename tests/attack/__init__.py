"""Attacks on a running city and on the machine that runs it, each against the real thing."""
