"""Rich's console for the commands: a reader that goes away is met in the one place that exits, not in rich."""

from __future__ import annotations

from rich.console import Console


class PipeConsole(Console):
    """A console that raises `BrokenPipeError`; rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles the `BrokenPipeError`, which goes on to the caller."""
        raise
