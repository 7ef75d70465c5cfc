"""`wecityctl explain`: describes a field of the city's files, as `kubectl explain` does for Kubernetes."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, Output, OutputOption, say, say_json

SUMMARY = "Explain a field of the city's files."
ORDER = 160
app = typer.Typer(rich_markup_mode=None)


def _complete(incomplete: str) -> list[str]:
    """Return completions: kinds first; below a kind, only the fields of the next level, as a shell does with
    directories.
    """
    from wecityctl.spec.explain import topics

    depth = incomplete.count(".")
    return [name for name in topics() if name.startswith(incomplete) and name.count(".") == depth]


@app.command(
    epilog=EPILOG.format(
        "wecityctl explain",
        "wecityctl explain app.spec.uses",
        "wecityctl explain cloud --recursive",
    )
)
def explain(
    field: Annotated[
        str,
        typer.Argument(
            metavar="FIELD", help="A kind, or a field by its path.", autocompletion=_complete, show_default=False
        ),
    ] = "",
    recursive: Annotated[bool, typer.Option("--recursive", help="Show the names of all fields below.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Explain a field of the city's files: its type, what it means, its default and choices.

    Without FIELD, list the kinds of documents.
    """
    from wecityctl.spec.explain import find_topic, kinds_text, topic_json, topic_text, topics

    if not field:
        if output is Output.JSON:
            say_json({"kinds": [name for name in topics() if "." not in name]})
        else:
            say(kinds_text())
        return
    topic = find_topic(field)
    if output is Output.JSON:
        say_json(topic_json(topic))
    else:
        say(topic_text(topic, recursive=recursive))
