"""The programs of the stacks: typed inputs to resources and typed outputs."""
