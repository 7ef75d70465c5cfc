"""Kubeconfig files: parsing, validation and merging by kubectl's rules. `config` selects from the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wecityctl.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Entry:
    """A named cluster, user or context, and the file that it comes from (None if given as text)."""

    body: Mapping[str, Any] = field(repr=False)
    source: Path | None

    @property
    def where(self) -> str:
        """The source, for messages."""
        return str(self.source) if self.source else "the given kubeconfig"

    def resolve(self, path: str) -> Path:
        """A path in this entry, relative to its file."""
        found = Path(path).expanduser()
        return found if found.is_absolute() or self.source is None else self.source.parent / found


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One or more kubeconfig files as one."""

    clusters: Mapping[str, Entry]
    users: Mapping[str, Entry]
    contexts: Mapping[str, Entry]
    current_context: str
    sources: tuple[str, ...]


def parse(text: str, source: Path | None) -> Kubeconfig:
    """Parse one kubeconfig. Raises `ConfigurationError` with the file and the problem."""
    where = str(source) if source else "the given kubeconfig"
    data = _load(text, where)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{where} is not a kubeconfig: expected a mapping at the top")
    kind = data.get("kind", "Config")
    if kind not in ("Config", "", None):
        raise ConfigurationError(f"{where} is not a kubeconfig: its kind is {kind!r}, expected Config")
    current = data.get("current-context")
    return Kubeconfig(
        clusters=_entries(data, "clusters", "cluster", source, where),
        users=_entries(data, "users", "user", source, where),
        contexts=_entries(data, "contexts", "context", source, where),
        current_context=current if isinstance(current, str) else "",
        sources=(where,),
    )


def read(path: Path) -> Kubeconfig:
    """Read one kubeconfig from its file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not a kubeconfig: it is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(f"cannot read the kubeconfig {path}: {error.strerror or error}") from error
    return parse(text, path.absolute())


def merge(parts: Sequence[Kubeconfig]) -> Kubeconfig:
    """Merge by kubectl's rule: the first file that has a name, or the current context, wins for it as a whole."""
    clusters: dict[str, Entry] = {}
    users: dict[str, Entry] = {}
    contexts: dict[str, Entry] = {}
    for part in reversed(parts):
        clusters.update(part.clusters)
        users.update(part.users)
        contexts.update(part.contexts)
    current = next((p.current_context for p in parts if p.current_context), "")
    return Kubeconfig(clusters, users, contexts, current, tuple(s for p in parts for s in p.sources))


def read_all(paths: Sequence[Path]) -> Kubeconfig | None:
    """The merged files of $KUBECONFIG, without missing ones, as in kubectl; None if none of them exists."""
    found = [read(p) for p in paths if p.exists()]
    return merge(found) if found else None


def _load(text: str, where: str) -> Any:
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)
        # The C parser: the pure Python parser is noticeably slow for a merged kubeconfig of many clusters.
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # str(error) of a YAML error quotes the line, which may contain a token. Only its position is reported.
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not valid JSON"
        raise ConfigurationError(f"{where} is not valid YAML{line}: {problem}") from None


def _entries(data: Mapping[str, Any], plural: str, singular: str, source: Path | None, where: str) -> dict[str, Entry]:
    listed = data.get(plural)
    if listed is None:
        return {}
    if not isinstance(listed, list):
        raise ConfigurationError(f"{where}: {plural} must be a list")
    found: dict[str, Entry] = {}
    for index, item in enumerate(listed):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str):
            raise ConfigurationError(f"{where}: {plural}[{index}] has no name")
        body = item.get(singular)
        if body is None:
            body = {}
        if not isinstance(body, dict):
            raise ConfigurationError(f"{where}: {plural}[{index}].{singular} ({name}) must be a mapping")
        if name in found:
            raise ConfigurationError(f"{where}: {plural} has two entries named {name!r}")
        found[name] = Entry(body, source)
    return found
