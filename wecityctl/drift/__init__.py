"""Compares recorded objects with a cluster and restores security objects. Independent of the engine's processes."""
