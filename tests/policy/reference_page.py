"""The reference of the policy rules, made from the rules themselves."""

from __future__ import annotations

from wecityctl.policy.model import Rule
from wecityctl.policy.rules import RULES
from wecityctl.report.policy import weight_of

HEAD = """\
# The rules

Generated from the rules by `make schema`; do not edit. How they weigh and when they are asked is told in
[policy rules](../explanation/policy-rules.md); `wecityctl policy explain RULE` prints one of them.

| rule | weight | in clusters | what it asks |
| --- | --- | --- | --- |
"""


def rules_page() -> str:
    """A table of all rules, then each with its reason."""
    rows = "".join(
        f"| [`{rule.name}`](#{rule.name}) | {weight_of(rule)} | {'yes' if rule.admission else ''} | {rule.title} |\n"
        for rule in RULES
    )
    return HEAD + rows + "".join(_section(rule) for rule in RULES)


def _section(rule: Rule) -> str:
    held = "; held in the clusters by admission policies, too" if rule.admission else ""
    controls = f" GB/T 22239: {', '.join(rule.controls)}." if rule.controls else ""
    weight = weight_of(rule)
    return f"\n## {rule.name}\n\n{rule.title}. {weight[0].upper()}{weight[1:]}{held}.{controls}\n\n{rule.why.strip()}\n"
