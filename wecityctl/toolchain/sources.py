"""The interface of a source of parts, and the list of sources in the order in which they are tried.

The cache is checked before: installed parts need no source.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

from wecityctl.toolchain.bundle import BundleSource
from wecityctl.toolchain.download import DownloadSource, Probe
from wecityctl.toolchain.gobuild import BuildSource
from wecityctl.toolchain.model import Part, SourceName
from wecityctl.toolchain.path_source import PathSource
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import Progress, Provided


class Source(Protocol):
    """A source from which parts may be obtained."""

    @property
    def name(self) -> SourceName: ...

    @property
    def is_named(self) -> bool:
        """Whether the user specified this source. If such a source fails, no other is tried."""

    def provide(self, part: Part, staging: Path, progress: Progress) -> Provided:
        """Put the part's programs into `staging/bin`. Raises `NotOfferedError` or `SourceFailedError`."""


def ordered(settings: Settings, cancelled: threading.Event, apt: threading.Lock) -> tuple[Source, ...]:
    """The sources of one run in order of preference. The lock `apt` is held while apt-get runs."""
    return (
        BundleSource(settings),
        PathSource(settings),
        DownloadSource(settings, Probe(settings.probe_timeout), cancelled),
        BuildSource(settings, threading.Semaphore(settings.builds), cancelled, apt),
    )
