"""Rich's console for the commands: a reader that goes away is met in the one place that exits, not in rich, and text
of clusters and engines commands no terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from wecityctl.model.words import printable


class PipeConsole(Console):
    """A console that raises `BrokenPipeError`, where rich's own would exit with 1, and shows control characters of
    texts as escapes. Colours are styles, and no part of a text."""

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles the `BrokenPipeError`, which goes on to the caller."""
        raise

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
