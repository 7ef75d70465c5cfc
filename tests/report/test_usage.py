"""How usage is shown: a table with its gaps and prices, CSV and plain values."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from decimal import Decimal

from rich.console import Console

from wecityctl.model.metering import CityUsage, CloudUsage, Coverage, Gap, Observed, Owner, Period, Row
from wecityctl.report.tables import print_table
from wecityctl.report.usage import as_json, csv_of, lines_of, table_of

DAY = Period(1_795_824_000, 1_795_824_000 + 24 * 3600)
GAP = Gap(DAY.begin + 3600, DAY.begin + 3 * 3600, 5400)
MOST = Coverage(81_000, (GAP,))
OTHERS = {"nvidia.com/gpu": 24.0, "ephemeral-storage": 3.0 * 2**30, "hugepages-2Mi": 0.0}
FOUND = CityUsage(
    "spring",
    DAY,
    "tenant",
    (
        Row(Owner(), cpu=12.0, storage=0.125, counts={"metrics queries": 3.0}),
        Row(
            Owner("health"), cpu=1234.5678, cpu_limit=2.0, memory=0.5, pods=24.0, others=OTHERS,
            cost={"CNY": Decimal("123.45678")},
        ),
    ),
    (
        CloudUsage(
            "main",
            MOST,
            (
                Observed("main", "health-internet", Owner("health"), Coverage(3600, ())),
                Observed("main", "platform-data", Owner(platform="data"), MOST),
            ),
            (),
            (),
        ),
    ),
    {"far": "its nodes are simulated"},
    frozenset(),
    ("main",),
    ("gateway requests", "metrics queries"),
)  # fmt: skip


def test_the_table_has_a_row_for_each_and_their_sum() -> None:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_table(console, table_of(FOUND))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert lines[0][:3] == ["TENANT", "CPU", "H"]
    assert lines[1] == ["(platforms)", "12", "0", "0", "0", "0.125", "0", "3", "–"]
    assert lines[2] == ["health", "1,235", "2", "0.500", "0", "0", "24", "–", "123.4568"]
    assert lines[3] == ["all", "1,247", "2", "0.500", "0", "0.125", "24", "3", "123.4568"]


def test_gaps_what_is_not_known_and_what_has_no_price_are_told() -> None:
    assert list(lines_of(FOUND)) == [
        "from 2026-11-28T00:00:00Z until 2026-11-29T00:00:00Z",
        "main: counted for 22.5 of 24 h",
        "  not counted: 1.5 h between 2026-11-28T01:00:00Z and 2026-11-28T03:00:00Z",
        "  namespace health-internet: counted for 1 of 24 h",
        "gateway requests: nothing was counted",
        "far: not counted: its nodes are simulated",
        "ephemeral-storage, requested: 3 GiB hours",
        "nvidia.com/gpu, requested: 24 hours",
        "cost: requested CPU and memory, and volumes, at the prices that the files have now; limits, pods, "
        "accelerators and counts have no price",
        "cost: cloud main has no prices in the files, so what is used there is not in the cost",
    ]


def test_only_the_first_gaps_are_told_one_by_one() -> None:
    gaps = tuple(Gap(DAY.begin + at, DAY.begin + at + 60, 60) for at in range(0, 7200 * 12, 7200))
    found = replace(FOUND, clouds=(CloudUsage("main", Coverage(0, gaps), (), (), ()),))
    lines = [line for line in lines_of(found) if line.startswith("  ")]
    assert len(lines) == 11
    assert lines[-1] == "  … and 2 more gaps: see -o json"


def test_csv_has_numbers_that_a_spreadsheet_takes() -> None:
    first, second = csv.DictReader(io.StringIO(csv_of(FOUND)))
    assert (first["tenant"], first["storage_gib_hours"], first["metrics queries"]) == ("", "0.125", "3.0")
    assert (second["tenant"], second["cpu_core_hours"], second["cost_CNY"]) == ("health", "1234.5678", "123.4568")
    assert (second["counted_hours"], second["period_hours"]) == ("22.5", "24.0")
    assert second["from"] == "2026-11-28T00:00:00Z"


def test_plain_values_have_everything() -> None:
    found = as_json(FOUND)
    assert found["rows"][1]["other_requests"]["nvidia.com/gpu"] == 24.0
    assert found["rows"][1]["cost"] == {"CNY": "123.4568"}
    assert found["total"]["cpu_core_hours"] == 1246.5678
    (cloud,) = found["clouds"]
    assert cloud["counted_hours"] == 22.5
    assert cloud["gaps"] == [{"from": "2026-11-28T01:00:00Z", "until": "2026-11-28T03:00:00Z", "missing_hours": 1.5}]
    assert cloud["namespaces"][0]["tenant"] == "health"
    assert found["unknown"] == {"far": "its nodes are simulated"}
    assert found["unpriced"] == ["main"]
