"""Decides what a `destroy` deletes and what it retains, and restores retained objects in the next run."""
