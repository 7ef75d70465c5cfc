"""Locks on stacks: the engine's own, those of runs, and abandoned ones."""
