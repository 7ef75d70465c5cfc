"""Simulated nodes: Node objects for the city's pools, and kwok to simulate their kubelets.

Pods do not run, but scheduling, quotas and placement are real.
"""
