"""What each patch of the SDK saves: the CPU of recording a stack with it alone, against the SDK as it is."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from wecityctl.engine.sdk.patches import PATCHES

# Records the stacks of a city in this process, after it has done so once: imports and caches are not measured.
_CODE = """
import sys, time
from pathlib import Path
from wecityctl.engine.sdk import patches, recorder
from wecityctl.operations import offline
from wecityctl.session import open_session
recorder.lighten = lambda: None
offline.record_each = lambda many: [recorder.record(item) for item in many]
chosen = sys.argv[2:]
for name in chosen:
    patches.PATCHES[name]()
session = open_session(Path(sys.argv[1]))
offline.record_session(session)
begun = time.process_time()
for _ in range(3):
    offline.record_session(session)
print(time.process_time() - begun)
"""


def measure_patches(city: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """CPU seconds with one patch and with none, by the patch's name; `all` are all of them. Medians of `rounds`."""
    chosen = {**{name: [name] for name in PATCHES}, "all": list(PATCHES)}
    seconds: dict[str, list[float]] = {name: [] for name in (*chosen, "")}
    for _ in range(rounds):
        for name in seconds:
            seconds[name].append(_seconds(city, chosen.get(name, [])))
    without = statistics.median(seconds[""])
    return {name: (statistics.median(seconds[name]), without) for name in chosen}


def _seconds(city: Path, patches: list[str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(city), *patches], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])
