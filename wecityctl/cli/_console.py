"""Rich's console for the commands: passes on a broken pipe instead of exiting, and escapes control characters in text
from clusters and engines.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from wecityctl.model.words import printable


class PipeConsole(Console):
    """A console that raises `BrokenPipeError`, where Rich's own would exit with 1, and escapes control characters in
    text.

    Colours are not affected, because they are styles and not part of a text.
    """

    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError` that Rich is handling."""
        raise

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable with escaped text."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
