"""Writes kubeconfigs of an embedded cloud, and merges the admin's into the user's own file.

Files are JSON, which is valid YAML, so that no YAML library is needed for them.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wecityctl.errors import ConfigurationError
from wecityctl.local.pki import KeyPair, Pki
from wecityctl.paths import write_private

_LISTS = ("clusters", "users", "contexts")


def context_name(cloud: str) -> str:
    """The name of the cluster, user and context of a cloud in a kubeconfig."""
    return f"wecity-{cloud}"


def render(name: str, server: str, ca: bytes, pair: KeyPair) -> str:
    """A kubeconfig with one context called `name` and with embedded certificates and key."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _text(ca)}}],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _text(pair.certificate_pem()),
                    "client-key-data": _text(pair.key_pem()),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(config, indent=2) + "\n"


def write_client(directory: Path, pki: Pki, server: str, user: str, groups: tuple[str, ...] = ()) -> Path:
    """Write the kubeconfig of `user`, with its own certificate, to `directory`; not rewritten if nothing changed."""
    file = user.replace(":", "-").replace("/", "-")
    pair = pki.client(f"client-{file}", user, groups)
    path = directory / f"{file}.kubeconfig"
    _write(path, render(file, server, pki.authority().certificate_pem(), pair))
    return path


def write_admin(path: Path, pki: Pki, server: str, cloud: str) -> str:
    """Write the admin's kubeconfig to `path`; returns its text."""
    pair = pki.client("admin", "wecityctl-admin", ("system:masters",))
    text = render(context_name(cloud), server, pki.authority().certificate_pem(), pair)
    _write(path, text)
    return text


def merge(text: str, target: Path) -> str:
    """Merge the context of kubeconfig `text` into the file `target`, replacing one of the same name; returns its name.

    Other entries of the file stay. Its current context is set only if it has none.
    """
    ours: dict[str, Any] = json.loads(text)
    theirs = _read(target)
    for section in _LISTS:
        entry = ours[section][0]
        kept = [each for each in theirs.get(section) or () if each.get("name") != entry["name"]]
        theirs[section] = [*kept, entry]
    theirs.setdefault("apiVersion", "v1")
    theirs.setdefault("kind", "Config")
    theirs["current-context"] = theirs.get("current-context") or ours["current-context"]
    _save(target, theirs)
    return str(ours["current-context"])


def unmerge(cloud: str, target: Path) -> bool:
    """Remove the cloud's entries from `target`; returns whether there were any."""
    if not target.exists():
        return False
    name, theirs, found = context_name(cloud), _read(target), False
    for section in _LISTS:
        entries = theirs.get(section) or []
        kept = [each for each in entries if each.get("name") != name]
        found = found or len(kept) != len(entries)
        theirs[section] = kept
    if found:
        if theirs.get("current-context") == name:
            theirs["current-context"] = ""
        _save(target, theirs)
    return found


def user_file(environment: Mapping[str, str]) -> Path:
    """The file that kubectl writes: the first of KUBECONFIG, otherwise ~/.kube/config."""
    for entry in environment.get("KUBECONFIG", "").split(os.pathsep):
        if entry:
            return Path(entry)
    return Path.home() / ".kube" / "config"


def _read(path: Path) -> dict[str, Any]:
    import yaml

    if not path.exists():
        return {}
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read as a kubeconfig", details=str(error)) from error
    if not isinstance(value, dict) or not all(_is_list_of_entries(value.get(section) or []) for section in _LISTS):
        raise ConfigurationError(f"{path} is not a kubeconfig", resolution="mend the file, or give --output FILE")
    return value


def _is_list_of_entries(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _save(path: Path, value: Mapping[str, Any]) -> None:
    import yaml

    # A symbolic link, for example into a dotfiles repository, is kept, and its target is replaced.
    write_private(path.resolve(), yaml.safe_dump(dict(value), sort_keys=False).encode())


def _write(path: Path, text: str) -> None:
    data = text.encode()
    if not (path.exists() and path.read_bytes() == data):
        write_private(path, data)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
