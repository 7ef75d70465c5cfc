"""`wecityctl state serve` and `wecityctl state token`: run the state server for teams, and manage its tokens."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, Output, OutputOption, console, note, say, say_json
from wecityctl.errors import ConfigurationError
from wecityctl.model.times import in_utc

if TYPE_CHECKING:
    from wecityctl.engine.serve.tokens import Token

token = typer.Typer(help="Create, list and delete the tokens of a state server.")

_Tokens = Annotated[
    Path, typer.Option("--tokens", metavar="FILE", help="The server's file of tokens, readable by its user alone.")
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Who uses the token: a person or a pipeline.")]


class Allowed(StrEnum):
    """What a token allows. The same as `engine.serve.tokens.Role`, which is not loaded for `--help`."""

    PREVIEW = "preview"
    UPDATE = "update"
    ADMIN = "admin"


def lifetime(text: str) -> timedelta:
    """The time in a text such as `90d` or `12h`. Raises `typer.BadParameter`."""
    found = re.fullmatch(r"(\d{1,4})([dh])", text.strip(), re.ASCII)
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{text!r} is not a time: write 90d or 12h")
    return timedelta(**{"days" if found[2] == "d" else "hours": int(found[1])})


def serve(
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            metavar="URL",
            help="Where the states are: file://, s3:// or postgres://.",
        ),
    ],
    tls_cert: Annotated[Path, typer.Option("--tls-cert", metavar="FILE", help="The certificate with its chain, PEM.")],
    tls_key: Annotated[Path, typer.Option("--tls-key", metavar="FILE", help="Its key, PEM, without a passphrase.")],
    tokens: _Tokens,
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8470",
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Append the log to this file; without it, it goes to stdout."),
    ] = None,
    keep_updates: Annotated[
        int, typer.Option("--keep-updates", metavar="N", min=1, help="How many updates of a stack its history keeps.")
    ] = 100,
) -> None:
    """Serve states to a team over Pulumi's service protocol: `pulumi login https://HOST:PORT`.

    Only TLS is spoken, 1.2 or newer. Tokens and certificates can be renewed while it runs; SIGHUP reads the certificate
    at once. The log has a line of JSON for each request. SIGTERM ends it, and once started again it
    goes on with the updates that were under way; Ctrl-C (SIGINT) ends these as well.
    """
    from wecityctl.engine.serve.service import Options
    from wecityctl.engine.serve.service import serve as run

    options = Options(backend, listen, tls_cert, tls_key, tokens, keep_updates)
    with ExitStack() as closing:
        # Without a buffer: its lock would keep the program from ending while nobody reads.
        stream = closing.enter_context(_appended(log) if log is not None else os.fdopen(os.dup(1), "wb", buffering=0))
        run(options, stream, lambda url: note(f"serving {backend.partition('?')[0].rpartition('@')[2]} at {url}"))


def _appended(path: Path) -> IO[bytes]:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written", details=str(error.strerror)) from error
    return os.fdopen(descriptor, "ab", buffering=0)


@token.command(
    "add",
    epilog=EPILOG.format(
        "wecityctl state token add alice --role admin --tokens tokens.json",
        "wecityctl state token add health-ci --role update --stacks 'xingcheng.tenant.health-commission.*' \\",
        "    --expires 90d --tokens tokens.json",
    ),
)
def add(
    name: _Name,
    role: Annotated[
        Allowed,
        typer.Option(
            "--role",
            help="preview: read and preview. update: also change. admin: also remove stacks, import states, and end"
            " others' updates.",
        ),
    ],
    tokens: _Tokens,
    stacks: Annotated[
        list[str] | None,
        typer.Option(
            "--stacks",
            metavar="PATTERN",
            help="Only stacks whose name matches, such as 'xingcheng.tenant.*'. May be repeated.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        timedelta | None,
        typer.Option(
            "--expires",
            metavar="TIME",
            parser=lifetime,
            help="How long it is valid: 90d, 12h.",
            show_default="does not expire",
        ),
    ] = None,
) -> None:
    """Create a token. It is printed only once, on stdout: the file keeps a hash of it. A running server accepts it at
    once."""
    from wecityctl.engine.serve.tokens import Role, add_token

    given, added = add_token(tokens, name, Role(role.value), stacks or (), expires)
    note(f"{_described(added)}; shown only this once:")
    say(given)


@token.command("list", epilog=EPILOG.format("wecityctl state token list --tokens tokens.json"))
def list_(tokens: _Tokens, output: OutputOption = Output.TEXT) -> None:
    """List the tokens: for whom, with which role, for which stacks, and until when. The tokens are never shown."""
    from wecityctl.engine.serve.tokens import read_tokens

    found = read_tokens(tokens)
    if output is Output.JSON:
        shown = [{key: value for key, value in asdict(item).items() if key != "hash"} for item in found]
        say_json({"tokens": shown})
        return
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("NAME", "ROLE", "STACKS", "CREATED", "EXPIRES"), prose=("STACKS",))
    for item in found:
        table.add_row(
            item.name, item.role, " ".join(item.stacks) or "all", in_utc(item.created), in_utc(item.expires) or "–"
        )
    print_table(console(), table)


@token.command("remove", epilog=EPILOG.format("wecityctl state token remove alice --tokens tokens.json"))
def remove(name: _Name, tokens: _Tokens) -> None:
    """Delete a token. A running server refuses it from then on, also for an update that is under way."""
    from wecityctl.engine.serve.tokens import remove_token

    note(f"removed: {_described(remove_token(tokens, name))}")


def _described(found: Token) -> str:
    stacks = f"stacks {' '.join(found.stacks)}" if found.stacks else "all stacks"
    until = f"expires {in_utc(found.expires)}" if found.expires else "does not expire"
    return f"{found.name}: {found.role.value}, {stacks}, {until}"
