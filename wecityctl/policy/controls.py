"""The controls of GB/T 22239-2019 for which a city's policy rules are evidence, in our own words.

Source of numbers and titles: GB/T 22239-2019, chapter 7 (level 2) and chapter 8 (level 3), general requirements x.1 and
extended requirements for cloud computing x.2. Only numbers that are certain are given.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Control:
    """A control with its level 3 `number`.

    `second` is the number of level 2; empty if level 2 has no such control or its number is not certain.
    """

    number: str
    title: str
    words: str
    second: str = ""
    level: int = 2


CONTROLS: tuple[Control, ...] = (
    Control(
        "8.2.1.1", "基础设施位置", "Infrastructure and data lie in the country, where they were meant to.", "7.2.1.1"
    ),
    Control(
        "8.1.2.1",
        "网络架构",
        "The network is divided into zones by importance, kept apart by technical means.",
        "7.1.2.1",
    ),
    Control("8.1.2.2", "通信传输", "What travels keeps its integrity, and from level 3 on its secrecy.", "7.1.2.2"),
    Control("8.1.3.1", "边界防护", "Traffic crosses a boundary only through controlled interfaces.", "7.1.3.1"),
    Control("8.1.3.2", "访问控制", "At a boundary everything is denied but what is allowed by rule.", "7.1.3.2"),
    Control("8.1.3.5", "安全审计", "What happens at boundaries is recorded, and the records are kept.", "7.1.3.5"),
    Control("8.1.4.1", "身份鉴别", "Whoever signs in is known, by an identity of his own.", "7.1.4.1"),
    Control("8.1.4.2", "访问控制", "Everybody has the rights that his duty needs and no others.", "7.1.4.2"),
    Control("8.1.4.3", "安全审计", "What users do is recorded; records are protected and kept.", "7.1.4.3"),
    Control("8.1.4.4", "入侵防范", "Only what is needed is installed, open and running.", "7.1.4.4"),
    Control("8.1.4.7", "数据完整性", "Data that was changed without right is noticed.", "7.1.4.7"),
    Control("8.1.4.8", "数据保密性", "Important data is secret where it lies and where it travels.", "", 3),
    Control("8.1.4.9", "数据备份恢复", "Data is backed up, off site too, and can be brought back.", "7.1.4.8"),
    Control(
        "8.1.4.11",
        "个人信息保护",
        "Personal data is held only where it is needed, and used for that alone.",
        "7.1.4.10",
    ),
    Control(
        "8.1.5.1", "系统管理", "System administrators have an identity, a way in and duties of their own.", "7.1.5.1"
    ),
    Control(
        "8.1.5.2", "审计管理", "Audit administrators have an identity, a way in and duties of their own.", "7.1.5.2"
    ),
    Control(
        "8.1.5.3", "安全管理", "Security administrators have an identity, a way in and duties of their own.", "", 3
    ),
    Control("8.2.4.4", "镜像和快照保护", "Images are hardened, and changed ones are noticed."),
)

# Controls that an assessor also checks and about which this program has no evidence.
ELSEWHERE = (
    "8.1.1 安全物理环境: the machine rooms",
    "8.1.3.3, 8.1.3.4 入侵防范, 恶意代码防范: detection of attacks and malware at the boundary",
    "8.1.4.5 恶意代码防范: protection of hosts against malware",
    "8.1.4.6 可信验证: measured boot",
    "8.1.4.10 剩余信息保护: what is left on released memory and disks",
    "8.1.5.4 集中管控: central monitoring and log analysis",
    "8.1.6 to 8.1.10 安全管理制度 to 安全运维管理: organisation, people, procurement and operation",
)


def controls_for(mlps: int) -> tuple[Control, ...]:
    """The controls that a level requires: those of level 2, and from level 3 on all."""
    return tuple(item for item in CONTROLS if item.level <= max(mlps, 2))


def number_at(control: Control, mlps: int) -> str:
    """The control's number at a level; empty if unknown.

    Level 4 gets level 3's number, whose requirements it includes.
    """
    if mlps >= 3:
        return control.number
    return control.second if mlps == 2 else ""
