"""Logs are kept long enough to find out later what happened."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.policy.model import Finding, PolicyInput, Rule, clouds_with_apps, lacking

WHY = """\
The Cybersecurity Law (网络安全法, article 21) asks operators to keep network logs for at least six months, and
GB/T 22239 asks from level 2 on that audit records are protected and kept for as long as laws demand. Break-ins are
often found only months after they began; without the logs of that time nobody can say what was read or changed. The
city's compliance.logRetentionDays should therefore be at least 180. The capability logs keeps the logs of its cloud for
as long; on clouds without it the number is declared and not enforced, and what is said of it is advice."""

DAYS = 180
LOGS = "logs"


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """A retention below six months."""
    days = policy_input.city.compliance.log_retention_days
    if days < DAYS:
        yield Finding(
            subject="city",
            message=f"logs are kept for {days} days, less than {DAYS}",
            resolution=f"set logRetentionDays to {DAYS} or more",
            document=("City", policy_input.city.name),
            path=("spec", "compliance", "logRetentionDays"),
            unsaid=bool(lacking(policy_input, LOGS)),
        )


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """The retention that the files ask for, and where it is enforced."""
    days = policy_input.city.compliance.log_retention_days
    without = lacking(policy_input, LOGS)
    having = [cloud for cloud in clouds_with_apps(policy_input) if cloud not in without]
    if having:
        yield f"capability {LOGS} keeps the logs of {', '.join(having)} for {days} days"
    if without:
        what = f"the logs of {', '.join(without)}" if having else "logs"
        yield f"{what} are to be kept for {days} days; nothing collects them: add capability {LOGS} there"


RULE = Rule(
    name="log-retention",
    title="Logs are kept for six months at least 日志留存",
    why=WHY,
    check=check,
    of_files=True,
    mlps=2,
    controls=("8.1.3.5 安全审计", "8.1.4.3 安全审计"),
    evidence=evidence,
    enforced_by=LOGS,
)
