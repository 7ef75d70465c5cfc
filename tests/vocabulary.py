"""Refuses words that this project has replaced by the field's own; run by `make lint` as `python -m tests.vocabulary`.

The table of what replaced what is `docs/decisions/0065-names.md`. Names that running cities have in their states and on
their clusters stay as they are: the layer `crossing`, the rule `crossing-plaintext`, the message of admission policies.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What is refused, and what to write instead.
OLD_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b[Rr]ed lines?\b(?! \{)(?! [a-z]+-[a-z]+)(?! with a veto)(?! run;)(?! ?\")", "policy rule"),
    (r"\bcrossings\b(?!\.json)", "interconnects"),
    (r"\bspec\.crossing\b", "spec.interconnect"),
    (r"\b[Cc]lash(?:es|ing)?\b", "conflict"),
    (r"\b[Pp]ostures?\b", "policy input"),
    (r"\b[Dd]ossiers?\b", "compliance report"),
    (r"\bEnforcers?\b", "EnforcementPoint"),
    (r"\b(?:Judged|Verdict)\b", "Violation, PolicyReport"),
    (r"\b[Uu]nlanded\b", "pending clouds"),
    (r"\b_?[Ss]kipper\b", "up-to-date check"),
    (r"\bleave_out\b", "skip"),
    (r"\bclass (?:Forward|Backward|Room|Near|Apart|Crowd|Shape|Draft|Survey|Wanted|Facts|Sink)\b", "see the table"),
    (r"\b(?:ha[sv]e?|had) left the files\b", "removed from the configuration"),
    (r"\bproven best\b", "optimal"),
    (r"\bthose that will do\b", "feasible"),
    (r"\bpods? still to end\b", "terminating"),
    (r"\bLeave to break\b", "exemption"),
    (r"\btaken the place of\b", "replaced"),
)
_SUFFIXES = frozenset({".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".expected", ".j2", ".json"})
# The table itself and what was decided in the words of its day; states and journals of earlier releases.
_EXEMPT = (
    "docs/decisions/",
    "CHANGELOG.md",
    "tests/vocabulary.py",
    "tests/spec/test_migrate.py",
    "tests/engine/states/",
    "tests/fixtures/",
)


def findings() -> Iterator[str]:
    """Each old word, as `file:line: word: what to write instead`."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    patterns = [(re.compile(pattern), instead) for pattern, instead in OLD_WORDS]
    for name in listed.splitlines():
        path = ROOT / name
        if name.startswith(_EXEMPT) or path.suffix not in _SUFFIXES or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for pattern, instead in patterns:
            for match in pattern.finditer(text):
                yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: write {instead}"


if __name__ == "__main__":
    found = sorted(findings())
    sys.stderr.writelines(f"{line}\n" for line in found)
    sys.exit(1 if found else 0)
