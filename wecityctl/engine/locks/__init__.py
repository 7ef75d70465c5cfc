"""Locks on stacks: the engine's own, those of runs, and those that the dead left behind."""
