"""Assembles a cloud from its state: addresses, ports, context, and the list of its services. Starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.local import controlplane, drivers, kubeconfig, ports, store
from wecityctl.local.api import Api
from wecityctl.local.controlplane import APISERVER, LOOPBACK, SIMULATED_NETWORK
from wecityctl.local.driver import Addon, Context, Network, NodeDriver
from wecityctl.local.pki import Pki
from wecityctl.local.service import Service
from wecityctl.local.simulated import kwok
from wecityctl.local.spec import CloudSpec, Report
from wecityctl.local.store import CloudState, Store
from wecityctl.local.supervisor import client


@dataclass(frozen=True, slots=True)
class Cloud:
    """An assembled cloud: everything needed to start, stop and describe it."""

    store: Store
    state: CloudState
    context: Context
    driver: NodeDriver | None
    addons: tuple[Addon, ...]

    def services(self) -> tuple[Service, ...]:
        """All services of the cloud. Writes their configuration files and prepares the node."""
        kubeconfig.write_admin(self.store.kubeconfig, self.context.pki, self.context.server, self.state.spec.name)
        services = list(controlplane.services(self.context, self.state.ports))
        if self.driver is not None:
            services += self.driver.prepare(self.context)
        else:
            services.append(kwok.service(self.context, self.state.ports[kwok.KWOK]))
        for addon in self.addons:
            services += addon.services(self.context)
        return tuple(services)

    def versions(self) -> dict[str, str]:
        """The versions of the programs that this cloud runs, by part."""
        from wecityctl import toolchain

        wanted = {"kubernetes", "etcd"} | ({"kwok"} if self.driver is None else set())
        found = {each.part: each.version for each in toolchain.status(hashed=False) if each.part in wanted}
        return {**found, **(self.driver.versions(self.context) if self.driver else {})}


def load(name: str, report: Report) -> Cloud:
    """The existing cloud `name`. Raises `ConfigurationError` with the names of existing clouds."""
    place = Store.of(name)
    place.require_own()
    state = place.load()
    if state is None:
        known = store.names()
        near = nearest(name, known)
        start = f"to make it: wecityctl local start --name {name}"
        raise ConfigurationError(
            f"there is no embedded cloud called {name!r}",
            details=f"there are: {', '.join(known)}" if known else "there is none yet",
            resolution=f"did you mean {near!r}? If not, {start}" if near else start,
        )
    driver = None if state.spec.simulated else drivers.node_driver()
    return _cloud(place, state, _network(driver, state, ()), driver, report, last_run(place))


def last_run(place: Store) -> Path:
    """The runtime directory of the last start, which may have been in another environment. It may not exist."""
    found = client.find(place.directory)
    return found.run if found is not None and found.supervisor.pid else store.run_path(place.directory)


def prepare(spec: CloudSpec, report: Report, *, runs: bool) -> Cloud:
    """Create or update the cloud of `spec`: choose addresses and ports, and save them in its state.

    With `runs`, the cloud is running: its runtime directory and its ports are kept although they are in use.
    """
    place = Store.of(spec.name)
    place.require_own()
    place.require_owner(spec.owner)
    state = place.load() or store.new_state(spec)
    if state.spec.nodes != spec.nodes:
        raise ConfigurationError(
            f"cloud {spec.name} was made with {state.spec.nodes} nodes and cannot change to {spec.nodes} ones",
            resolution=f"to begin anew: wecityctl local reset --name {spec.name} --confirm={spec.name}",
        )
    spec = replace(spec, owner=spec.owner or state.spec.owner)
    driver = None if spec.simulated else drivers.node_driver()
    if driver is not None:
        driver.check()
    place.create()
    with store.allocation_lock():
        others = [each for each in (Store.of(name).load() for name in store.names() if name != spec.name) if each]
        network = _network(driver, state, tuple(each.network for each in others if each.network))
        wanted = controlplane.port_addresses(network) | ({kwok.KWOK: LOOPBACK} if spec.simulated else {})
        if not (runs and set(wanted) <= set(state.ports)):
            taken = {port for each in others for port in each.ports.values()}
            state = replace(state, ports=ports.choose(str(place.directory), wanted, state.ports, taken))
        addresses = {
            name: address
            for name, address in (
                ("api", network.api_address),
                ("node", network.node_ip),
                ("gateway", network.gateway_address),
            )
            if address
        }
        state = replace(
            state,
            spec=store.kept(spec),
            network=network.saved,
            addresses=addresses,
            server=f"https://{network.api_address}:{state.ports[APISERVER]}",
        )
        place.save(state)
    run = last_run(place) if runs else store.run_dir(place.directory)
    cloud = _cloud(place, state, network, driver, report, run)
    return replace(cloud, context=replace(cloud.context, spec=spec))


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[str, ...]:
    """Messages about ports that changed because another program uses them."""
    return tuple(
        f"port {port} of {name} is taken by another program: now {after[name]}"
        for name, port in before.items()
        if name in after and after[name] != port
    )


def _network(driver: NodeDriver | None, state: CloudState, taken: tuple[str, ...]) -> Network:
    return SIMULATED_NETWORK if driver is None else driver.network(state.cloud_id, state.network, taken)


def _cloud(
    place: Store, state: CloudState, network: Network, driver: NodeDriver | None, report: Report, run: Path
) -> Cloud:
    place.create()
    pki = Pki(place.pki, state.spec.name)
    admin = pki.client("admin", "wecityctl-admin", ("system:masters",))
    context = Context(
        spec=state.spec,
        cloud_id=state.cloud_id,
        directory=place.directory,
        run=run,
        logs=place.logs,
        server=state.server,
        network=network,
        pki=pki,
        api=Api(state.server, pki.authority().certificate, admin.certificate, admin.key),
        report=report,
    )
    return Cloud(place, state, context, driver, drivers.addons())
