"""Running a plan's stacks: what has to run, in which order, side by side, and what came of it."""
