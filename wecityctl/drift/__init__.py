"""Compares recorded objects with a cluster and puts security objects right; knows nothing of the engine's processes."""
