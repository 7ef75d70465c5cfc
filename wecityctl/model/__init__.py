"""The model of a city and pure functions over it: immutable values, no I/O.

Reading the files is `spec`'s responsibility; running stacks is `engine`'s.
"""
