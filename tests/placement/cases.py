"""The cases that are files: each city under `cases/` has, beside it, where everything goes or what conflicts.

`python -m tests.placement.cases` writes what they give now; read the difference before keeping it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from wecityctl.placement import Constraint, InfeasiblePlacementError
from wecityctl.report.placement import Locate, explanation_of
from wecityctl.session import Session, open_session

CASES = Path(__file__).parent / "cases"


def case_names() -> list[str]:
    return sorted(path.stem for path in CASES.glob("*.yaml"))


def expected_file(name: str) -> Path:
    return CASES / f"{name}.expected"


def outcome_of(name: str) -> str:
    """Where everything goes and why, or the conflict, as users see it."""
    with chdir(CASES):
        try:
            session = open_session(Path(f"{name}.yaml"), explain=True)
        except InfeasiblePlacementError as error:
            return f"conflict:\n{error.details}\n"
        return "".join(f"{line}\n" for line in explanation_of(session.placement, _locate(session)))


def _locate(session: Session) -> Locate:
    def locate(constraint: Constraint) -> str:
        source = constraint.source
        found = session.positions.place(source.kind, source.name, *source.path) if source is not None else None
        return str(found) if found is not None else ""

    return locate


def write_expected() -> Iterator[Path]:
    for name in case_names():
        path = expected_file(name)
        path.write_text(outcome_of(name), encoding="utf-8")
        yield path


if __name__ == "__main__":
    for written in write_expected():
        print(written)
