"""Simulated nodes: Node objects as the city's pools declare them, and kwok to play their kubelets.

Nothing runs on them, but scheduling, quotas and placement are the real thing.
"""
