"""The shape of Lifecycle documents, which `wecityctl app` writes."""

from __future__ import annotations

from wecityctl.model import lifecycle as model
from wecityctl.spec.schema import names
from wecityctl.spec.schema.base import Schema, options


class ReviewCheck(Schema):
    """The result of one check of a review."""

    name: names.Word = options("The check.", "policy")
    result: model.CheckResult = options("Its result; a review with a failed check is a rejection.", "passed")
    findings: list[names.Note] = options("What it found.", ["web: image is not named by digest"], default_factory=list)


class Record(Schema):
    """One action on the app."""

    action: model.Action = options("What was done.", "review")
    by: names.Title = options("Who did it.", "bob@xingcheng.gov.example")
    at: names.Timestamp = options("When, with the time zone.", "2026-11-27T09:30:00+08:00")
    digest: names.Digest = options(
        "The digest of what the App document said, without its stage; `wecityctl app show` prints the current one.",
        "sha256:" + "0" * 64,
    )
    stage: model.Stage = options("The stage in which it left the app.", "reviewed")
    note: names.Note | None = options("Why.", "first version for the pilot", default=None)
    checks: list[ReviewCheck] = options("What a review checked.", default_factory=list)
    keep_until: names.Date | None = options(
        "Of a retirement: the last day for which the data is kept.", "2027-05-26", default=None
    )


class LifecycleSpec(Schema):
    """What was done with the app, oldest first."""

    records: list[Record] = options("The actions.", min_length=1)
