"""The programs of the stacks: each registers resources from typed inputs and returns typed outputs."""
