"""The one error that ends a command with a message instead of a traceback."""


class PipelineError(Exception):
    """What is wrong, where, and what to do about it, as one text."""
