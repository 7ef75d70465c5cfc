"""What is told while an embedded cloud starts, as events of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.model.events import Diagnostic, Event, Progress

if TYPE_CHECKING:
    from wecityctl.local.spec import LocalEvent
    from wecityctl.oci import ImageEvent
    from wecityctl.toolchain import PartEvent


def part_progress(event: PartEvent) -> Progress:
    """A program of the toolchain that is fetched or built."""
    done = event.phase.value in ("ready", "failed")
    return Progress(event.part, event.phase.value, event.detail, done, event.elapsed)


def image_progress(event: ImageEvent) -> Progress:
    """An image that is built."""
    done = event.phase.value in ("cached", "built")
    return Progress(f"image {event.image}", event.phase.value, event.message, done, event.seconds)


def cloud_progress(name: str, event: LocalEvent) -> Event:
    """A step of the start of the embedded cloud `name`, or what has gone wrong in it."""
    if event.kind in ("death", "warning"):
        return Diagnostic("", "warning", "\n".join((event.message, *event.lines)))
    return Progress(f"cloud {name}", event.message, event.service, event.kind in ("ready", "stopped"), event.seconds)
