"""What a source of parts is, and the one visible list of them in the order they are asked.

The cache itself comes before the list: a part that is there is not looked for.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

from wecityctl.toolchain.bundle import BundleSource
from wecityctl.toolchain.download import DownloadSource, Probe
from wecityctl.toolchain.gobuild import BuildSource
from wecityctl.toolchain.model import Part, SourceName
from wecityctl.toolchain.onpath import PathSource
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.sourcing import Progress, Provided


class Source(Protocol):
    """Somewhere a part may come from."""

    @property
    def name(self) -> SourceName: ...

    @property
    def is_named(self) -> bool:
        """Whether the user named it. Where such a source fails no other is asked."""

    def provide(self, part: Part, staging: Path, progress: Progress) -> Provided:
        """Put the part's programs into `staging/bin`; raises `NotOfferedError` or `SourceFailedError`."""


def ordered(settings: Settings, cancelled: threading.Event, apt: threading.Lock) -> tuple[Source, ...]:
    """The sources for one run, first choice first. Whoever runs apt-get holds `apt`."""
    return (
        BundleSource(settings),
        PathSource(settings),
        DownloadSource(settings, Probe(settings.probe_timeout), cancelled),
        BuildSource(settings, threading.Semaphore(settings.builds), cancelled, apt),
    )
