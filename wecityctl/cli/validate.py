"""`wecityctl validate`: checks a city's files and lists all problems. Contacts no cloud and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, say, say_json
from wecityctl.errors import InvalidCityError
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from wecityctl.spec.loaded import LoadedCity

SUMMARY = "Check a city's files; touches nothing."
ORDER = 10
app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=EPILOG.format(
        "wecityctl validate examples/xingcheng",
        "wecityctl validate city.yaml -o json",
    )
)
def validate(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """Check a city's files; touches nothing.

    Without --env, the city is checked in every one of its environments.

    Exits with 0 when they are valid and with 2 when they are not; problems are listed on stderr, or with -o json on
    stdout.
    """
    from wecityctl.cli._problems import problem_as_json
    from wecityctl.operations import validate as operation

    try:
        loaded, *others = operation.validate_all(path)
    except InvalidCityError as error:
        if output is Output.TEXT:
            raise
        problems = [problem_as_json(problem) for problem in error.problems]
        say_json({"valid": False, "path": str(path), "problems": problems})
        raise typer.Exit(error.exit_code) from None
    if output is Output.JSON:
        say_json({"valid": True, "path": str(path), **_as_json(loaded), "environments": list(map(_as_json, others))})
        return
    where = "" if loaded.is_default else f" in environment {loaded.environment}"
    say(f"{path} is valid{where}: {_counts(loaded)}")
    for other in others:
        say(f"environment {other.environment} is valid: {_counts(other)}")


def _counts(loaded: LoadedCity) -> str:
    counts = ", ".join(counted(count, kind) for kind, count in loaded.counts.items() if count)
    return f"{counts} in {counted(len(loaded.files), 'file')}"


def _as_json(loaded: LoadedCity) -> dict[str, Any]:
    return {
        "environment": loaded.environment,
        "city": loaded.city.name,
        "documents": loaded.counts,
        "files": [file.name for file in loaded.files],
    }
