"""Runs the stacks of a plan: decides which need a run, schedules them in parallel, and collects the results."""
