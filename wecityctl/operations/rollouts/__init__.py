"""Releases by canary: which step comes next (`moves`), making the steps (`driving`), and what people ask (`commands`).

What runs is ordinary components (`model.rollouts`); what is recorded is in `model.releases`. Steps are made by ordinary
runs under their locks: a run claims a step in the record before it touches a stack, and notes afterwards what came of
it. One that is interrupted in between leaves the step claimed, and the next run makes it again.
"""
