"""Every command's help: as recorded, with examples, and light. `make schema` records it anew."""

import subprocess
import sys

import pytest

from tests.cli.help_texts import SNAPSHOTS, all_help, is_group
from tests.cli.program import ROOT
from tests.generate import generated

HELPS = all_help()
GENERATED = generated()
HEAVY = ("pulumi", "grpc", "google.protobuf", "aiohttp", "cryptography")


@pytest.mark.parametrize("path", sorted(GENERATED), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_generated_file_is_up_to_date(path: object) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "run `make schema`"  # type: ignore[attr-defined, index]


def test_no_snapshot_is_left_over() -> None:
    assert set(SNAPSHOTS.glob("*.txt")) <= set(GENERATED)


@pytest.mark.parametrize("name", [name for name in HELPS if not is_group(name, HELPS)])
def test_command_has_examples(name: str) -> None:
    assert f"Examples:\n    {name} " in HELPS[name] or f"Examples:\n    {name}\n" in HELPS[name]


# What a city has to have for a command to do something.
OF_CITIES_WITH = {
    "alerts": "name: alerts",
    "backup": "backup:",
    "dashboards": "name: metrics",
    "usage": "name: metrics",
}


@pytest.mark.parametrize("name", [name for name in HELPS if any(word in OF_CITIES_WITH for word in name.split())])
def test_examples_name_a_city_that_has_what_the_command_asks(name: str) -> None:
    _, _, examples = HELPS[name].partition("Examples:")
    for line in examples.splitlines():
        for city in (word for word in line.split() if word.startswith("examples/")):
            text = (ROOT / city / "city.yaml").read_text(encoding="utf-8")
            assert all(part in text for word, part in OF_CITIES_WITH.items() if word in name.split()), line


def test_no_usage_has_doubled_brackets() -> None:
    assert [name for name, text in HELPS.items() if "[[" in text or "]...]" in text] == []


def imported(*arguments: str) -> set[str]:
    """The modules that `wecityctl ARGUMENTS` has imported when it ends."""
    program = (
        "import sys; from wecityctl.cli.main import run; code = run(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["validate", "--help"], ["schema", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert "wecityctl.cli.main" in modules
    assert modules.isdisjoint((*HEAVY, "yaml"))
    # Typer itself uses pydantic once a command's options are read.
    assert "pydantic" not in modules or len(arguments) > 1


@pytest.mark.parametrize(
    "arguments",
    [["validate", "examples/xingcheng"], ["schema"], ["explain", "app.spec.uses"]],
    ids=lambda words: words[0],
)
def test_files_are_read_without_the_engine(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert "pydantic" in modules
    assert modules.isdisjoint(HEAVY)
