"""A vendor that does not exist, as a folder of `stacks/clouds`: `test_new_vendor` adds it to a copy of the program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wecityctl.model.city import City, Cloud
from wecityctl.model.reserved import DOCKER_BRIDGE
from wecityctl.model.vendors import Balancers, Credentials, Fault, ManagedSettings, Sdk, Vendor, Volumes, setting


@dataclass(frozen=True, slots=True)
class NimbusSettings(ManagedSettings):
    """Settings of a landing zone on Nimbus."""

    altitude: int = setting("How high the cloud is, in hundreds of metres.", 30, default=20)


def _check(_city: City | None, cloud: Cloud) -> Iterator[Fault]:
    """Clusters do not hold together above 90."""
    if cloud.settings_as(NimbusSettings).altitude > 90:
        yield Fault(("spec", "nimbus", "altitude"), "clusters do not hold together so high", "at most 90")


VENDOR = Vendor(
    provider="nimbus",
    title="Nimbus",
    settings=NimbusSettings,
    sdk=Sdk("pulumi", "pulumi", "3.272.0"),
    credentials=Credentials((("NIMBUS_TOKEN",),), "NIMBUS_TOKEN"),
    balancers=Balancers("nimbus.example/balancer"),
    volumes=Volumes("csi.nimbus.example", lambda _cloud, _sm, key: {"encrypted": "true", "key": key}),
    reserved=(DOCKER_BRIDGE,),
    zonal_subnets=True,
    check=_check,
    import_examples=("--region sky --network net-1 --cluster c-1",),
)
