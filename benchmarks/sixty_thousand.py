"""Writes examples/sixty-thousand: a made-up city of 60,000 CPUs in 600 simulated nodes over four clouds.

`python -m benchmarks.sixty_thousand` writes the example anew; `--parts 10 DIRECTORY` writes a tenth of it elsewhere.
The same arguments always give the same files. Facts behind the sizes: a pool of 60,000 CPUs and 4 PB, which is about
67 GB for a CPU, and a bureau with 4 GB of memory for a CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "sixty-thousand"
EXAMPLE = Path(__file__).parents[1] / "examples" / NAME
SCHEMA = "# yaml-language-server: $schema=../../docs/reference/city.schema.json\n"
GENERATED = "# Written by `python -m benchmarks.sixty_thousand`; change that, not this.\n"
CPUS, MEMORY_GI, STORAGE_G = 100, 400, 6700  # of one node
REGISTRY = "registry.sixty-thousand.example"

DEPARTMENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "digital-government": (
        ("health-commission", "卫生健康委"),
        ("civil-affairs", "民政局"),
        ("public-security", "公安局"),
        ("social-security", "人力资源和社会保障局"),
        ("taxation", "税务局"),
        ("market-regulation", "市场监督管理局"),
        ("education", "教育局"),
        ("housing-fund", "住房公积金中心"),
        ("justice", "司法局"),
        ("veterans", "退役军人事务局"),
        ("medical-insurance", "医疗保障局"),
        ("government-services", "政务服务局"),
    ),
    "city-governance": (
        ("urban-management", "城市管理局"),
        ("transport", "交通运输局"),
        ("water", "水务局"),
        ("emergency", "应急管理局"),
        ("ecology", "生态环境局"),
        ("housing", "住房和城乡建设局"),
        ("traffic-police", "交通警察支队"),
        ("fire-rescue", "消防救援支队"),
        ("parks", "园林局"),
        ("meteorology", "气象局"),
        ("power-grid", "供电公司"),
        ("gas", "燃气公司"),
    ),
    "city-decision-making": (
        ("statistics", "统计局"),
        ("development-reform", "发展和改革委"),
        ("finance", "财政局"),
        ("planning", "自然资源和规划局"),
        ("audit", "审计局"),
        ("data-bureau", "数据局"),
        ("super-brain", "城市超级大脑"),
        ("general-office", "市政府办公厅"),
        ("policy-research", "政策研究室"),
        ("state-assets", "国有资产监督管理委员会"),
        ("letters-and-visits", "信访局"),
        ("big-data-centre", "大数据中心"),
    ),
    "industry-internet": (
        ("industry", "工业和信息化局"),
        ("commerce", "商务局"),
        ("agriculture", "农业农村局"),
        ("tourism", "文化和旅游局"),
        ("science", "科学技术局"),
        ("manufacturing", "协同制造"),
        ("supply-chain", "供应链金融"),
        ("quality", "智能质检"),
        ("industrial-security", "工业安全"),
        ("logistics", "物流平台"),
        ("low-code", "低代码平台"),
        ("energy", "能源大数据"),
    ),
}


@dataclass(frozen=True)
class PoolShape:
    name: str
    architecture: str
    nodes: int
    domestic: bool = False
    accelerators: str = ""


@dataclass(frozen=True)
class CloudShape:
    name: str
    zones: str
    cpu_hour: str
    pools: tuple[PoolShape, ...]


@dataclass(frozen=True)
class AppShape:
    """What a tenant runs: the first one, and then one in `every`. `cpus` are a replica's, by the tenant's number."""

    name: str
    zone: str
    data_class: str
    architectures: tuple[str, ...]
    replicas: int
    cpus: tuple[int, ...]
    domestic: bool = False
    accelerators: str = ""
    every: int = 1
    routed: bool = False


# 150 nodes each; the rate cards are made up.
CLOUDS = (
    CloudShape("riverside", "internet, exchange", "0.10", (PoolShape("general", "amd64", 150),)),
    CloudShape(
        "hillside",
        "internet, extranet, exchange",
        "0.10",
        (PoolShape("general", "amd64", 100), PoolShape("kunpeng", "arm64", 50, domestic=True)),
    ),
    CloudShape(
        "lakeside",
        "extranet",
        "0.10",
        (PoolShape("kunpeng", "arm64", 100, domestic=True), PoolShape("hygon", "amd64", 50, domestic=True)),
    ),
    CloudShape(
        "harbour",
        "internet, extranet",
        "0.10",
        (
            PoolShape("general", "amd64", 90),
            PoolShape("graphics", "amd64", 30, accelerators="nvidia.com/gpu: 8"),
            PoolShape("ascend", "arm64", 30, domestic=True, accelerators="huawei.com/Ascend910: 8"),
        ),
    ),
)
# Replicas of 10 and 20 CPUs leave no more than a tenth of a node that nothing fits into.
APPS = (
    AppShape("portal", "internet", "L1", ("amd64",), 16, (10, 20)),
    AppShape("business", "extranet", "L2", ("amd64", "arm64"), 14, (20,)),
    AppShape("analysis", "extranet", "L2", ("amd64", "arm64"), 12, (20,), domestic=True),
    AppShape("exchange", "exchange", "L2", ("amd64", "arm64"), 14, (20, 10)),
    AppShape("front", "internet", "L1", ("amd64",), 2, (10,), every=6, routed=True),
    AppShape("vision", "extranet", "L2", ("amd64",), 4, (10,), accelerators="nvidia.com/gpu: 2", every=8),
    AppShape("training", "extranet", "L2", ("arm64",), 3, (20,), True, accelerators="huawei.com/Ascend910: 4", every=8),
)


def files(parts: int = 1, name: str = NAME) -> dict[str, str]:
    """The example's files by name; with `parts`, one part in that many of its nodes and tenants."""
    found = {"city.yaml": _city(name), "clouds.yaml": "---\n".join(_cloud(cloud, parts) for cloud in CLOUDS)}
    number = 0
    for area, departments in DEPARTMENTS.items():
        for tenant, title in departments[: max(1, round(len(departments) / parts))]:
            found[f"{area}/{tenant}.yaml".replace("/", "-")] = _tenant(tenant, title, area, number)
            number += 1
    return {file: SCHEMA + GENERATED + text for file, text in found.items()}


def write(directory: Path, parts: int = 1, name: str = NAME) -> Path:
    """Write the files into `directory`, and remove what an earlier generator left there."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = files(parts, name)
    for old in directory.glob("*.yaml"):
        if old.name not in wanted:
            old.unlink()
    for file, text in wanted.items():
        (directory / file).write_text(text, encoding="utf-8")
    return directory


def _city(name: str) -> str:
    return f"""\
# 60,000 CPUs and 4 PB in 600 simulated nodes over four clouds: what a province's cloud pool is, on a laptop.
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {{name: {name}}}
spec:
  domain: {name}.gov.example
  compliance:
    mlps: 2
    logRetentionDays: 180
    registries: [{REGISTRY}]
    administrators:
      system: [operations@{NAME}.gov.example]
      security: [security@{NAME}.gov.example]
      audit: [audit@{NAME}.gov.example]
  zones:
    - {{name: internet, kind: internet}}
    - {{name: extranet, kind: government-extranet}}
    - {{name: exchange, kind: data-exchange}}
  flows:
    - {{from: internet, to: exchange, ports: [443], approvedBy: data-bureau, reason: one-stop service}}
  images: {{source: upstream, registry: {REGISTRY}, architectures: [amd64, arm64]}}
---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {{name: application}}
spec:
  capabilities:
    - {{name: gateway}}
"""


def _cloud(cloud: CloudShape, parts: int) -> str:
    pools = "".join(f"    - {{{_pool(pool, parts)}}}\n" for pool in cloud.pools)
    return f"""\
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {{name: {cloud.name}}}
spec:
  provider: local
  local: {{nodes: simulated}}
  zones: [{cloud.zones}]
  pools:
{pools}\
  prices: {{currency: CNY, cpuHour: "{cloud.cpu_hour}", memoryGiBHour: "0.02", storageGiBMonth: "0.50"}}
"""


def _pool(pool: PoolShape, parts: int) -> str:
    shape = f"name: {pool.name}, architecture: {pool.architecture}, nodes: {max(1, round(pool.nodes / parts))}"
    size = f'cpu: "{CPUS}", memory: {MEMORY_GI}Gi, storage: {STORAGE_G}G'
    more = (", domestic: true" if pool.domestic else "") + (
        f", accelerators: {{{pool.accelerators}}}" if pool.accelerators else ""
    )
    return f"{shape}, {size}{more}"


def _tenant(name: str, title: str, area: str, number: int) -> str:
    asked = sum(app.replicas * app.cpus[number % len(app.cpus)] for app in APPS if number % app.every == 0)
    # Room for the extra pod of each app while a new version rolls out.
    asked = asked * 6 // 5
    quota = f'{{cpu: "{asked}", memory: {asked * 3}Gi, storage: {asked * 67}G}}'
    head = f"""\
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {{name: {name}}}
spec:
  title: {title}
  area: {area}
  quota: {quota}
  admins: [{name}@{NAME}.gov.example]
"""
    return "---\n".join([head, *_apps(name, number)])


def _apps(tenant: str, number: int) -> Iterator[str]:
    for app in APPS:
        if number % app.every:
            continue
        cpu = app.cpus[number % len(app.cpus)]
        placement = "\n  placement: {domestic: true}" if app.domestic else ""
        # What citizens come in by lies where the gateway does.
        placement = "\n  placement: {affinity: [gateway]}" if app.routed else placement
        route = f"  route: {{host: {tenant}}}\n" if app.routed else ""
        cards = f", accelerators: {{{app.accelerators}}}" if app.accelerators else ""
        yield f"""\
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {{name: {app.name}, tenant: {tenant}}}
spec:
  stage: published
  zone: {app.zone}
  dataClass: {app.data_class}{placement}
  components:
    - name: web
      image: {REGISTRY}/{tenant}/{app.name}:1.0.0
      architectures: [{", ".join(app.architectures)}]
      replicas: {app.replicas}
      port: 8080
      resources: {{cpu: "{cpu}", memory: {cpu * 3}Gi{cards}}}
{route}"""


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.sixty_thousand", description=__doc__)
    arguments.add_argument("directory", nargs="?", type=Path, default=EXAMPLE)
    arguments.add_argument("--parts", type=int, default=1, help="write one part in so many of the nodes and tenants")
    arguments.add_argument("--name", default=NAME, help="the city's name")
    options = arguments.parse_args()
    print(write(options.directory, options.parts, options.name))


if __name__ == "__main__":
    main()
