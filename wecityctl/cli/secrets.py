"""`wecityctl secrets`: the city's secret store, kept encrypted in its state back end."""

from __future__ import annotations

import os
import re
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
    secrets_of,
)
from wecityctl.errors import ConfigurationError
from wecityctl.model.naming import CITY_KEYS, TENANT_KEYS

if TYPE_CHECKING:
    from wecityctl.session import Session

SUMMARY = "Keep the values that apps name and no file holds."
ORDER = 190
app = typer.Typer(help="The city's secret store: values that apps name and nobody writes into files.")

_LONGEST = 64 * 1024
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
Name = Annotated[
    str,
    typer.Argument(
        metavar="TENANT/NAME",
        help="The secret, as its tenant's apps name it.",
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
    from wecityctl.engine.run.edit_secrets import set_secret
    from wecityctl.engine.state.backend import open_backend

    session = _session(path)
    key = _key(session, name)
    set_secret(open_backend(session.city), key, _value(from_file))
    unused = _unused(session, key)
    if unused:
        note(unused)
    else:
        note(f"{name} is kept; `wecityctl up {path}` hands it to the apps that name it")


@app.command("list", epilog=EPILOG.format("wecityctl secrets list examples/xingcheng"))
def list_(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """List the names in the store and those that apps name and nobody has set; values are never shown."""
    from wecityctl.engine.context.secret_store import SecretStore, needed
    from wecityctl.engine.state.backend import open_backend

    session = _session(path)
    kept = SecretStore(open_backend(session.city)).names()
    # What begins so is the city's own: what stacks are given is made with it.
    wanted = (*needed(session.plan), *(name for name in kept if name.startswith(CITY_KEYS)))
    missing = [name for name in wanted if name.startswith(TENANT_KEYS) and name not in kept]
    if output is Output.JSON:
        unused = [name for name in kept if name not in wanted]
        say_json({"city": session.city.name, "names": list(kept), "missing": missing, "unused": unused})
        return
    for name in kept:
        say(name if name in wanted else f"{name}  (no app uses it)")
    for name in missing:
        say(f"{name}  (missing: wecityctl secrets set {path} {name.removeprefix(TENANT_KEYS)})")


@app.command(
    "remove",
    cls=PathBeforeName,
    epilog=EPILOG.format("wecityctl secrets remove examples/xingcheng health-commission/sms-key"),
)
def remove(path: CityPath = HERE, *, name: Name) -> None:
    """Forget a value that somebody has set."""
    from wecityctl.engine.run.edit_secrets import remove_secret
    from wecityctl.engine.state.backend import open_backend

    session = _session(path)
    remove_secret(open_backend(session.city), _key(session, name))
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


def _key(session: Session, name: str) -> str:
    """Return the store's key for `tenant/name`. Raises `ConfigurationError` if the city has no such tenant."""
    tenant, _, short = name.removeprefix(TENANT_KEYS).partition("/")
    known = [item.name for item in session.city.tenants]
    if not short or tenant not in known:
        raise ConfigurationError(
            f"{name!r} does not name a tenant's secret",
            details="tenants: " + (", ".join(known) or "none"),
            resolution="write it as TENANT/NAME",
        )
    if not _NAME.fullmatch(short):
        raise ConfigurationError(
            f"{short!r} cannot be a secret's name",
            resolution="use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends",
        )
    return f"{TENANT_KEYS}{tenant}/{short}"


def _unused(session: Session, key: str) -> str:
    """Return a warning for a secret that no app uses, with the closest name in use; empty if it is used."""
    from wecityctl.spec.fields import nearest

    name, used = key.removeprefix(TENANT_KEYS), secrets_of(session.city)
    if name in used:
        return ""
    tenant = name.partition("/")[0]
    near = nearest(name, [other for other in used if other.startswith(f"{tenant}/")] or used)
    hint = f"; did you mean {near}?" if near else ""
    return f"warning: {name} is kept, but no app of {session.city.name} names it{hint}"


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
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            "the value is not UTF-8 text",
            details=f"its byte {error.start + 1} begins no character",
            resolution="encode it, for example with base64, and have the app decode it",
        ) from None
