"""Case tables as files: one YAML list of cases per file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

CASES = Path(__file__).with_name("cases")


def cases(folder: str) -> list[Any]:
    """Every case of the folder's files as a pytest parameter named after it."""
    found = []
    for path in sorted((CASES / folder).glob("*.yaml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    assert found, f"no cases in {folder}"
    return found
