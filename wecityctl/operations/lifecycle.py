"""`app`: takes an app from draft to retirement. Each action is recorded beside the app, with who took it and on what.

The city is loaded as it will be with the new record before anything is written.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError, PolicyError, WecityError
from wecityctl.model.lifecycle import (
    KEEP_DAYS,
    STAGES_BEFORE,
    Action,
    Fault,
    Lifecycle,
    Record,
    ReviewCheck,
    Stage,
    content_digest,
    faults_of,
    is_fixed_image,
    stage_after,
)
from wecityctl.operations.city_files import turn_to_edit, write_together
from wecityctl.users import user_name

if TYPE_CHECKING:
    from wecityctl.model.city import App, City
    from wecityctl.session import Session
    from wecityctl.spec.files import SourceFile
    from wecityctl.spec.loaded import LoadedCity

# Findings of one check that a record keeps, and characters of each.
_FINDINGS, _FINDING = 20, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionOptions:
    """`app` is `NAME` or `TENANT/NAME`. Without `by`: who runs it. `keep_days` is of a retirement.

    With `dry_run`, nothing is written.
    """

    app: str
    by: str | None = None
    note: str = ""
    keep_days: int = KEEP_DAYS
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class AppState:
    """An app as its file and its records have it. `digest` is that of what the file says now."""

    app: App
    lifecycle: Lifecycle
    digest: str

    @property
    def is_recorded(self) -> bool:
        """Whether what the file says now is what was reviewed, or published, last."""
        last = self.lifecycle.last("publish", "resume", "review")
        return last is not None and last.digest == self.digest


@dataclass(frozen=True, slots=True)
class Change:
    """What an action wrote, or would write: the record, the app's stage, and the new texts of files."""

    app: App
    record: Record
    texts: Mapping[Path, str]

    @property
    def is_rejection(self) -> bool:
        """Whether a review has found something that failed."""
        return self.record.action == "reject"


def app_states(path: Path) -> tuple[AppState, ...]:
    """All apps of the city at `path`, and what is recorded of each."""
    city = _load(path).city
    return tuple(_state(city, app) for app in city.apps)


def app_state(path: Path, name: str) -> AppState:
    """One app and what is recorded of it. Raises `ConfigurationError` for an unknown one."""
    from wecityctl.operations.app_targets import find_app

    city = _load(path).city
    return _state(city, find_app(city, name))


def act(path: Path, action: Action, options: ActionOptions) -> Change:
    """Take an action on an app: write a record of it, and the stage in the app's file.

    A review whose checks fail is recorded as a rejection. Raises `ConfigurationError` for an action that does not fit
    what was recorded before, and `PolicyError` for the publication of something that was not reviewed.
    """
    with nullcontext() if options.dry_run else turn_to_edit(path):
        return _act(path, action, options)


def _act(path: Path, action: Action, options: ActionOptions) -> Change:
    from wecityctl.operations.app_targets import find_app
    from wecityctl.session import open_session

    if options.by is not None and not options.by.strip():
        raise ConfigurationError("who takes the action is empty", resolution="name a person, or leave `--by` out")
    loaded = _load(path)
    if not loaded.is_default:
        raise ConfigurationError(
            f"the life of an app is recorded for environment {loaded.environments[0]!r} alone",
            details=f"chosen is {loaded.environment!r}",
            resolution="promote what was tried, and have that reviewed: wecityctl promote",
        )
    app = find_app(loaded.city, options.app)
    state = _state(loaded.city, app)
    record = Record(
        action,
        options.by or person(path),
        datetime.now().astimezone().isoformat(timespec="seconds"),
        state.digest,
        stage_after(action, app.stage),
        options.note,
        keep_until=str(date.today() + timedelta(days=options.keep_days)) if action == "retire" else "",
    )
    _check_order(state, record, path)
    texts = _texts(loaded, path, state, record)
    trial = open_session(path, changed=texts)
    if action == "review":
        checks = tuple(_checks(trial, app))
        failed = any(item.result == "failed" for item in checks)
        record = replace(record, checks=checks)
        if failed:
            record = replace(record, action="reject", stage=app.stage)
        texts = _texts(loaded, path, state, record)
        _load(path, texts)
    if not options.dry_run:
        write_together(texts)
    return Change(app, record, texts)


def person(path: Path) -> str:
    """Who runs this: the e-mail address that Git has for the city's directory, or else the user's name here."""
    directory = path if path.is_dir() else path.parent
    try:
        done = subprocess.run(
            ["git", "config", "user.email"], cwd=directory, capture_output=True, text=True, timeout=10, check=False
        )
        found = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        found = ""
    return found or user_name()


def _load(path: Path, changed: Mapping[Path, str] | None = None) -> LoadedCity:
    from stacks.catalogue import load_catalogue
    from wecityctl.spec import load_city

    return load_city(path, load_catalogue(), changed)


def _state(city: City, app: App) -> AppState:
    found = (item for item in city.lifecycles if (item.tenant, item.name) == (app.tenant, app.name))
    return AppState(app, next(found, Lifecycle(app.name, app.tenant)), content_digest(app, city.images.registry))


def _check_order(state: AppState, record: Record, path: Path) -> None:
    """Raise the error that tells why the action cannot be taken now."""
    name, lifecycle = f"{state.app.tenant}/{state.app.called}", state.lifecycle
    stage = lifecycle.records[-1].stage if lifecycle.records else state.app.stage
    faults = tuple(faults_of(lifecycle, stage, record))
    if stage != state.app.stage and "not-first" not in faults:
        raise ConfigurationError(
            f"the stage of {name} is {state.app.stage!r} in its file, but its records leave it {stage!r}",
            resolution=f"write `stage: {stage}` into its file, and run it again",
        )
    if faults:
        raise _error_of(faults[0], name, lifecycle, stage, record, path)
    if record.action in ("publish", "resume"):
        _check_publication(name, lifecycle, record, path)


def _error_of(fault: Fault, name: str, lifecycle: Lifecycle, stage: Stage, record: Record, path: Path) -> WecityError:
    submitted = lifecycle.pending
    match fault:
        case "not-first":
            return ConfigurationError(
                f"nothing is recorded of {name} yet", resolution=f"begin with: wecityctl app submit {path} {name}"
            )
        case "wrong-stage":
            return ConfigurationError(
                f"{name} is {stage}: {record.action} needs an app that is " + " or ".join(STAGES_BEFORE[record.action]),
                resolution=f"see what was recorded: wecityctl app show {path} {name}",
            )
        case "not-submitted":
            return ConfigurationError(
                f"{name} has not been submitted since its last review",
                resolution=f"first: wecityctl app submit {path} {name}",
            )
        case "other-version":
            assert submitted is not None
            return PolicyError(
                f"{name} has changed since {submitted.by} submitted it on {submitted.at[:10]}",
                details=f"submitted: {submitted.digest}\nnow: {record.digest}",
                resolution=f"submit what is there now: wecityctl app submit {path} {name}",
            )
        case "own-review":
            return PolicyError(
                f"{record.by} has submitted {name}, and cannot review it",
                resolution="let another person review it; `--by` says who that is",
            )


def _check_publication(name: str, lifecycle: Lifecycle, record: Record, path: Path) -> None:
    actions: tuple[Action, ...] = ("review",) if record.action == "publish" else ("publish", "resume")
    known = lifecycle.last(*actions)
    if known is None and record.action == "resume":
        # It was published without a record.
        known = lifecycle.last("suspend")
    if known is None or known.digest != record.digest:
        what = "reviewed" if record.action == "publish" else "published"
        since = f" by {known.by} on {known.at[:10]}" if known is not None else ""
        raise PolicyError(
            f"{name} is not what was {what}{since}",
            details=f"{what}: {known.digest if known is not None else 'nothing'}\nnow: {record.digest}",
            resolution=f"have it reviewed: wecityctl app submit {path} {name}, then review and publish",
        )


def _checks(trial: Session, app: App) -> Iterator[ReviewCheck]:
    """What a review looks at. That the files are valid and the app finds a place has been seen by opening the city."""
    yield ReviewCheck("files", "passed")
    yield ReviewCheck("placement", "passed")
    yield _policy(trial, app)
    tags = [
        f"{part.name}: {part.image} is not named by digest" for part in app.components if not is_fixed_image(part.image)
    ]
    yield ReviewCheck("images", "advisory" if tags else "passed", tuple(tags))
    bare = [
        f"{part.name}: nothing tells whether it is ready"
        for part in app.components
        if part.ports and not part.health_path and (part.probes is None or part.probes.ready is None)
    ]
    yield ReviewCheck("probes", "advisory" if bare else "passed", tuple(bare))
    tenant = trial.city.tenant(app.tenant)
    yield ReviewCheck(
        "owner",
        "passed" if tenant.admins else "advisory",
        () if tenant.admins else (f"tenant {tenant.name} has no administrators",),
    )


def _policy(trial: Session, app: App) -> ReviewCheck:
    """The findings of the policy rules on this app; those on its own records are left to the deployment."""
    from wecityctl.operations.policy import check_policies

    report, unseen = check_policies(trial)
    if unseen is not None:
        raise unseen
    name = f"{app.tenant}/{app.name}"
    own = [
        item
        for item in report.findings
        if item.rule != "reviewed-apps" and (item.finding.document == ("App", name) or item.finding.subject == name)
    ]
    failed = any(item.stops for item in own)
    findings = tuple(
        f"{item.rule}: {item.finding.message}{f' (waived: {item.waiver})' if item.waiver else ''}"[:_FINDING]
        for item in sorted(own, key=lambda each: not each.stops)[:_FINDINGS]
    )
    return ReviewCheck("policy", "failed" if failed else "advisory" if own else "passed", findings)


def _texts(loaded: LoadedCity, path: Path, state: AppState, record: Record) -> Mapping[Path, str]:
    """The new texts of the files: the one with the records, and the app's own if its stage changes."""
    from wecityctl.spec.files import read_text
    from wecityctl.spec.insertion import with_document
    from wecityctl.spec.lifecycle_edit import new_document, with_record, with_stage

    app, lifecycle = state.app, state.lifecycle
    key = f"{app.tenant}/{app.name}"
    files = {file.name: file for file in loaded.files}
    found: dict[Path, str] = {}

    def text_of(file: SourceFile) -> str:
        return found[file.path] if file.path in found else read_text(file)[0]

    place = loaded.positions.place("App", key, "spec", "stage")
    assert place is not None
    home = files[place.file]
    if record.stage != app.stage:
        found[home.path] = with_stage(text_of(home), place, app.stage, record.stage)
    if lifecycle.records:
        last = loaded.positions.place("Lifecycle", key, "spec", "records", len(lifecycle.records) - 1)
        assert last is not None
        if not _is_last(loaded, key):
            raise ConfigurationError(
                f"{last}: the Lifecycle is not the last document of its file",
                resolution="move it into a file of its own, and run it again",
            )
        file = files[last.file]
        found[file.path] = with_record(text_of(file), last, record)
    elif path.is_dir():
        records = home.path.with_name(f"{app.tenant}.{app.called}.lifecycle.yaml")
        found[records] = new_document(app.tenant, app.called, record)
    else:
        found[home.path] = with_document(text_of(home), new_document(app.tenant, app.called, record))
    # The record first: cut off between the two, what was recorded tells which stage is to be written.
    return dict(sorted(found.items(), key=lambda item: item[0] == home.path))


def _is_last(loaded: LoadedCity, key: str) -> bool:
    """Whether nothing follows the app's Lifecycle in its file."""
    documents = loaded.positions.documents
    own = documents[("Lifecycle", key)]
    return all(item.file != own.file or item.start.line <= own.start.line for item in documents.values())
