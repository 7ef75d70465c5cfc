"""The rule behind findings about stacks that cannot be checked.

It has a name and a reason, but checks nothing itself.
"""

from __future__ import annotations

from wecityctl.policy.model import Rule

WHY = """\
A rule can judge only what it sees. Where a stack's program fails, or refuses the files, nobody knows what it would
make, and nothing of it is let pass: neither a flag nor a waiver lifts that. A stack that depends on such a one is not
seen either. The finding says what the program says; what is to be mended is the program, or what it lacks. Where a
program refuses the files – a vendor's SDK is missing – `policy check` ends with that error, once, and with 2."""

# Used by the policy evaluation itself: it is not evaluated for any stack, and not among the listed rules.
RECORDED = Rule(
    name="recorded", title="Every stack can be looked at 可见方可判", why=WHY, check=lambda policy_input: (), veto=True
)
