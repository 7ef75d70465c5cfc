"""Compares stacks with their clusters: unchanged, drifted, undeclared, lost and remaining objects."""
