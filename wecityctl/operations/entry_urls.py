"""Builds a curl command for each host that the entry points serve, to reach it from this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from wecityctl.model.naming import stack_name
from wecityctl.model.outputs import EntryOutputs, outputs_from_json
from wecityctl.paths import state_dir, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Cluster
    from wecityctl.session import Session


def authority_file(city: str) -> Path:
    """Return the file to which `up` writes the certificates of a city's own authority, for programs on this machine."""
    return state_dir() / "authorities" / f"{city}.crt"


@dataclass(frozen=True, slots=True)
class EntryUrl:
    """A host that the entry points serve, and the command that reaches it from this machine."""

    host: str
    command: str


def entry_urls(
    session: Session, clusters: Mapping[str, Cluster], backend: Backend, *, keep: bool
) -> tuple[EntryUrl, ...]:
    """Return one command for each host; empty without an entry point or if nothing answers, as on simulated nodes.

    `keep`: write the certificates of the city's authority to the file that the commands refer to.
    """
    cluster = clusters.get(session.plan.placement.entry)
    if cluster is None or not cluster.address:
        return ()
    state = backend.read_state(stack_name(session.city.name, "entry"))
    try:
        outputs = outputs_from_json("entry", dict(state.outputs)) if state is not None and state.outputs else None
    except (ValueError, TypeError):
        return ()
    if not isinstance(outputs, EntryOutputs):
        return ()
    trusted = authority_file(session.city.name)
    if keep and outputs.authority:
        write_private(trusted, outputs.authority.encode())
    option = f"--cacert {quote(str(trusted))} " if outputs.authority else ""
    return tuple(
        EntryUrl(host, _command(host, port, cluster.address, outputs, option))
        for host, port in outputs.addresses
        if port
    )


def _command(host: str, port: int, address: str, outputs: EntryOutputs, option: str) -> str:
    if not outputs.tls:
        return f"curl -H 'Host: {host}' http://{address}:{port}/"
    return f"curl {option}--resolve {host}:{port}:{address} https://{host}:{port}/"
