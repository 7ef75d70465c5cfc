"""The policy rules over a large resource graph: the files read and placed, the stacks recorded, the rules asked.

The three are told apart: the rules are ours to make fast, recording takes what the SDK takes for each resource.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.city import write_city
from wecityctl.operations.offline import record_session
from wecityctl.policy.check import judge
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.rules import RULES
from wecityctl.session import open_session

# A tenant of the generated city comes to about 57 resources.
TENANTS = 87


@dataclass(frozen=True)
class Measured:
    """Seconds of one check, by what they went into."""

    resources: int
    findings: int
    opening: float
    recording: float
    rules: float

    @property
    def total(self) -> float:
        return self.opening + self.recording + self.rules


def measure(directory: Path, tenants: int = TENANTS) -> Measured:
    """Check a generated city with that many tenants; its files are written below `directory`."""
    files = write_city(directory / f"policy-{tenants}", f"policy-{tenants}", tenants)
    begun = time.perf_counter()
    session = open_session(files)
    opened = time.perf_counter()
    recordings = record_session(session)
    recorded = time.perf_counter()
    policy_input = PolicyInput(session.city, session.catalogue, session.plan.placement, session.images, recordings)
    policy_report = judge(policy_input, date(2026, 1, 1), RULES)
    judged = time.perf_counter()
    return Measured(
        policy_report.resources, len(policy_report.findings), opened - begun, recorded - opened, judged - recorded
    )


def main() -> None:
    """Print one measurement, and one of a quarter of it to show how it grows."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="wb-") as directory:
        for tenants in (TENANTS // 4, TENANTS):
            found = measure(Path(directory), tenants)
            print(
                f"{found.resources} resources: {found.total:.2f} s; files and placement {found.opening:.2f},"
                f" recording {found.recording:.2f}, {len(RULES)} rules {found.rules:.2f}"
            )


if __name__ == "__main__":
    main()
