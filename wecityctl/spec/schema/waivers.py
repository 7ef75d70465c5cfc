"""The shape of Waiver documents."""

from __future__ import annotations

from wecityctl.spec.schema import names
from wecityctl.spec.schema.base import Schema, options


class WaiverSpec(Schema):
    """Which findings are let pass, by whom, why and until when."""

    rule: names.Word = options("The rule; one with a veto cannot be waived.", "images-by-digest")
    subjects: list[names.Title] = options(
        "What it is for, as patterns with `*`.", ["health-commission/*"], min_length=1
    )
    owner: names.Email = options("Who answers for it.", "alice@xingcheng.gov.example")
    reason: names.Title = options("Why it is needed.", "the supplier delivers digests in March")
    expires: names.Date = options("The last day on which it holds.", "2027-03-31")
