"""`wecityctl secrets`: the city's secret store, kept encrypted in its state back end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName, PathBeforeNames
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, note, say, say_json
from wecityctl.cli._complete import (
    complete_app,
    complete_capability,
    complete_credential,
    complete_secret,
)
from wecityctl.errors import ConfigurationError
from wecityctl.model.naming import given_name

if TYPE_CHECKING:
    from wecityctl.session import Session

SUMMARY = "Keep the values that apps name and no file holds."
ORDER = 190
app = typer.Typer(help="The city's secret store: values that apps name and nobody writes into files.")

_LONGEST = 64 * 1024
Name = Annotated[
    str,
    typer.Argument(
        metavar="TENANT/NAME",
        help="The secret, as its tenant's apps name it; or NAME alone, of one that the City names.",
        show_default=False,
        autocompletion=complete_secret,
    ),
]


@app.command(
    "set",
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl secrets set examples/xingcheng health-commission/sms-key < sms-key.txt",
        "wecityctl secrets set examples/xingcheng health-commission/sms-key --from-file sms-key.txt",
    ),
)
def set_(
    path: CityPath = HERE,
    *,
    name: Name,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", metavar="FILE", help="Read the value here instead of on stdin.")
    ] = None,
) -> None:
    """Keep a value, read from stdin or a file and never from the command line. The next `up` hands it to the apps."""
    from wecityctl.operations import secrets as operation

    session = _session(path)
    key = operation.secret_key(session, name)
    done = operation.set_secret(session, key, _value(from_file))
    if done.is_used:
        note(f"{name} is kept; `wecityctl up {path}` hands it to the apps that name it")
    else:
        hint = f"; did you mean {done.nearest}?" if done.nearest else ""
        note(f"warning: {done.name} is kept, but no app of {session.city.name} names it{hint}")


@app.command("list", epilog=EPILOG.format("wecityctl secrets list examples/xingcheng"))
def list_(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """List the names in the store and those that apps name and nobody has set; values are never shown."""
    from wecityctl.operations.secrets import list_secrets

    session = _session(path)
    found = list_secrets(session)
    if output is Output.JSON:
        names = {"names": list(found.kept), "missing": list(found.missing), "unused": list(found.unused)}
        say_json({"city": session.city.name, **names})
        return
    if not (found.kept or found.missing):
        note(f"{session.city.name} has no secrets: no app names one, and none is set")
        return
    for name in found.kept:
        say(f"{name}  (no app uses it)" if name in found.unused else name)
    for name in found.missing:
        say(f"{name}  (missing: wecityctl secrets set {path} {given_name(name)})")


@app.command(
    "remove",
    cls=PathBeforeName,
    epilog=EPILOG.format("wecityctl secrets remove examples/xingcheng health-commission/sms-key"),
)
def remove(path: CityPath = HERE, *, name: Name) -> None:
    """Forget a value that somebody has set."""
    from wecityctl.operations.secrets import remove_secret

    remove_secret(_session(path), name)
    note(f"{name} is forgotten")


@app.command(
    cls=PathBeforeNames,
    epilog=EPILOG.format(
        "wecityctl secrets rotate examples/xingcheng --app health-commission/health-code",
        "wecityctl secrets rotate examples/xingcheng --capability postgresql --dry-run",
        "wecityctl secrets rotate examples/xingcheng binding/health-commission/health-code/db",
    ),
)
def rotate(
    path: CityPath = HERE,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Passwords, as `secrets list` shows them.",
            show_default=False,
            autocompletion=complete_credential,
        ),
    ] = None,
    of_app: Annotated[
        str,
        typer.Option("--app", metavar="TENANT/NAME", help="All of this app's.", autocompletion=complete_app),
    ] = "",
    capability: Annotated[
        str,
        typer.Option(
            "--capability",
            metavar="NAME",
            help="The administrator's of this capability and those of all that use it.",
            autocompletion=complete_capability,
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which would be replaced.")] = False,
) -> None:
    """Replace generated passwords in the store by new ones. The next `up` sets them and restarts the pods that use
    them; until then nothing has changed."""
    from wecityctl.operations import rotate as operation

    if not (names or of_app or capability):
        raise ConfigurationError(
            "nothing says which passwords to replace", resolution="name some, or --app or --capability"
        )
    session = _session(path)
    found = operation.chosen(session, names or (), of_app, capability)
    done = found if dry_run else operation.rotate(session, found)
    for item in done:
        say(f"{item.name}  ({item.user} in {item.capability})")
    if dry_run:
        note("nothing was replaced")
    elif not done:
        note("the store has none of them yet; `up` makes them")
    else:
        note(f"`wecityctl up {path}` sets the new passwords, and restarts what uses them")


def _session(path: Path) -> Session:
    from wecityctl.session import open_session

    return open_session(path)


def _value(source: Path | None) -> str:
    """Return the value without the newline that editors and `echo` append."""
    try:
        if source is not None:
            with source.open("rb") as stream:
                data = stream.read(_LONGEST + 3)
        elif sys.stdin.isatty():
            data = os.fsencode(typer.prompt("Value", hide_input=True, err=True))
        else:
            # Its bytes: depending on the locale, the text layer lets pass what is no text.
            data = sys.stdin.buffer.read(_LONGEST + 3)
    except OSError as error:
        raise ConfigurationError(f"the value cannot be read: {error}") from error
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not data or len(data) > _LONGEST:
        raise ConfigurationError(
            "the value is empty" if not data else "the value is longer than 64 KiB",
            resolution="give it on stdin or with --from-file",
        )
    if (nul := data.find(b"\0")) >= 0:
        raise ConfigurationError(
            "the value has a NUL byte, which no environment variable can hold",
            details=f"it is byte {nul + 1}",
            resolution="encode it, for example with base64, and have the app decode it",
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            "the value is not UTF-8 text",
            details=f"its byte {error.start + 1} begins no character",
            resolution="encode it, for example with base64, and have the app decode it",
        ) from None
