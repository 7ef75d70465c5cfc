"""Translates the events of an embedded cloud's start into events of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.model.events import Diagnostic, Event, Progress

if TYPE_CHECKING:
    from wecityctl.local.spec import LocalEvent
    from wecityctl.oci import ImageEvent
    from wecityctl.toolchain import PartEvent


def part_progress(event: PartEvent) -> Progress:
    """Translate the download or build of a program of the toolchain."""
    done = event.phase.value in ("ready", "failed")
    return Progress(event.part, event.phase.value, event.detail, done, event.elapsed)


def image_progress(event: ImageEvent) -> Progress:
    """Translate the build of an image."""
    done = event.phase.value in ("cached", "built")
    return Progress(f"image {event.image}", event.phase.value, event.message, done, event.seconds)


def cloud_progress(name: str, event: LocalEvent) -> Event:
    """Translate a step of the start of the embedded cloud `name`, or a problem in it."""
    if event.kind in ("death", "warning"):
        return Diagnostic("", "warning", "\n".join((event.message, *event.lines)))
    # The message is a sentence that names the service.
    done = event.kind in ("ready", "stopped")
    return Progress(f"cloud {name}", event.message, done=done, seconds=event.seconds)
