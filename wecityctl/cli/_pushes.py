"""How `wecityctl images push` shows what it does, and what it has done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wecityctl.cli._common import console

if TYPE_CHECKING:
    from wecityctl.operations.images_push import PushedTo, PushProgress

_MIB = 1 << 20
# Seconds between two lines about one image.
_BETWEEN = 2.0


class Progress:
    """Notes how much of an image was sent: at its beginning, at its end, and every other second."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note, self._image, self._noted = note, "", 0.0

    def __call__(self, progress: PushProgress) -> None:
        now = time.monotonic()
        if progress.image == self._image and progress.sent < progress.size and now - self._noted < _BETWEEN:
            return
        self._image, self._noted = progress.image, now
        self._note(f"{progress.image:<11} sent      {progress.sent / _MIB:.1f} of {progress.size / _MIB:.1f} MiB")


def documents(found: Sequence[PushedTo]) -> list[dict[str, Any]]:
    """What became of the images, for JSON."""
    return [
        {
            "cloud": item.cloud,
            "capability": item.capability,
            "host": item.host,
            "images": [{**asdict(image), "reference": f"{item.host}/{image.reference}"} for image in item.images],
        }
        for item in found
    ]


def show(found: Sequence[PushedTo]) -> None:
    """Print a table of the images at each registry."""
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("IMAGE", "STATE", "SENT", "REFERENCE"), right=("SENT",))
    for item in found:
        for image in item.images:
            sent = f"{image.sent / _MIB:.1f} MiB" if image.state != "present" else "–"
            table.add_row(image.name, image.state, sent, f"{item.host}/{image.reference}")
    print_table(console(), table)
