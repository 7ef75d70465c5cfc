"""Starts, stops, describes and resets embedded clouds. This is the interface for other packages.

Every function may be called at any time, concurrently, after a crash and after a reboot. `assembly` defines the parts
of a cloud; the supervisor keeps it running.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

from wecityctl import cancellation
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.local import assembly, store
from wecityctl.local import kubeconfig as kubeconfigs
from wecityctl.local.api import Api
from wecityctl.local.assembly import Cloud
from wecityctl.local.proctable import boot_id
from wecityctl.local.simulated import nodes as simulated_nodes
from wecityctl.local.spec import CloudSpec, CloudStatus, Health, Report, RunningCloud, ServiceStatus, silent
from wecityctl.local.store import Store
from wecityctl.local.supervisor import client
from wecityctl.local.supervisor.control import PROTOCOL
from wecityctl.local.watch import Teller, follow, service_status

_STOP_SECONDS = 60.0
_LEFTOVER_GRACE = 3.0
_POLL_SECONDS = 0.05


def names() -> tuple[str, ...]:
    """The names of this user's embedded clouds, running or not."""
    return store.names()


def is_running(name: str) -> bool:
    """Whether the cloud's supervisor runs. Does not check its health."""
    found = client.find(Store.of(name).directory)
    return found is not None and found.alive


def start(spec: CloudSpec, report: Report = silent, *, timeout: float = 120.0) -> RunningCloud:
    """Start the cloud of `spec` and return when it is ready. Changes nothing if it is running already.

    Raises `StartError`, with the last log lines, or `StartTimeoutError`; a cloud that did not run before is then
    stopped again, with data and logs kept. Raises `ConfigurationError` if the cloud exists with the other kind of
    nodes. `timeout` is in seconds.
    """
    teller = Teller(report)
    place = Store.of(spec.name)
    with place.lock(timeout, lambda: teller.tell("step", "another command is working on this cloud; waiting")):
        found = _running(place, teller)
        if found is None:
            _clean_up_after_crash(place, teller)
        before = place.load()
        cloud = assembly.prepare(spec, teller.relay, runs=found is not None)
        if before is not None:
            for line in assembly.moved(before.ports, cloud.state.ports):
                teller.tell("warning", line)
        if found is not None:
            return _bring_up(cloud, found, teller, timeout)
        _empty(cloud.context.run)
        try:
            return _bring_up(cloud, client.launch(place.directory, cloud.context.run), teller, timeout)
        except BaseException:
            teller.tell("step", "taking down what was started")
            with cancellation.shielded():
                _take_down(cloud, teller)
            raise


def connect(name: str) -> RunningCloud | None:
    """The running cloud, without changing it; `None` if it does not run."""
    if not is_running(name):
        return None
    cloud = assembly.load(name, silent)
    version = str(cloud.context.api.get("/version")["gitVersion"])
    return _describe(cloud, version, cloud.state.cluster_uid, changed=False, seconds=0.0)


def last_known(name: str) -> RunningCloud | None:
    """The cloud as last known, without changing it; `None` if it does not exist or was never ready."""
    state = Store.of(name).load()
    if state is None or not state.cluster_uid:
        return None
    version = f"v{state.versions.get('kubernetes', '').removeprefix('v')}"
    return _describe(assembly.load(name, silent), version, state.cluster_uid, changed=False, seconds=0.0)


def require_owner(name: str, owner: str) -> None:
    """Raise `ConfigurationError` if the cloud exists and belongs to another than `owner`."""
    Store.of(name).require_owner(owner)


def stop(name: str, report: Report = silent, *, timeout: float = 120.0) -> bool:
    """Stop the cloud and remove its processes, mounts, interfaces and firewall rules.

    Returns false if it was stopped already.
    """
    teller = Teller(report)
    cloud = assembly.load(name, teller.relay)
    with cloud.store.lock(timeout, lambda: teller.tell("step", "another command is working on this cloud; waiting")):
        if client.find(cloud.store.directory) is None:
            return False
        _take_down(cloud, teller)
        teller.tell("stopped", f"cloud {name} is down")
        return True


def reset(name: str, report: Report = silent, *, timeout: float = 120.0) -> None:
    """Stop the cloud and delete all its data: objects, volumes, certificates, logs."""
    teller = Teller(report)
    place = Store.of(name)
    if not place.directory.exists():
        assembly.load(name, report)  # raises, and names the clouds there are
    with place.lock(timeout, lambda: teller.tell("step", "another command is working on this cloud; waiting")):
        cloud = _load_if_readable(name, teller)
        if cloud is not None:
            _take_down(cloud, teller)
            if cloud.driver is not None:
                cloud.driver.reset(cloud.context)
        else:
            _end_processes(place, teller)
            shutil.rmtree(assembly.last_run(place), ignore_errors=True)
        shutil.rmtree(place.directory)
        teller.tell("stopped", f"cloud {name} and its data are gone")


def status(name: str) -> CloudStatus:
    """The current status of the cloud. Every ready service is probed once."""
    cloud = assembly.load(name, silent)
    found = client.find(cloud.store.directory)
    services: tuple[ServiceStatus, ...] = ()
    message, since = "", 0.0
    health: Health = "stopped"
    if found is not None and found.alive:
        try:
            answer = client.ask(found, {"do": "status", "probe": True})
            services, since = tuple(service_status(each) for each in answer["services"]), float(answer["since"])
            health, message = _health(services)
        except client.SupervisorError as error:
            health, message = "degraded", f"{error.message}: {error.details}"
    elif found is not None:
        health, message = "crashed", _why_gone(found)
    state, now = cloud.state, time.time()
    return CloudStatus(
        name=name,
        health=health,
        nodes=state.spec.nodes,
        directory=cloud.store.directory,
        server=state.server,
        age=now - state.created,
        uptime=now - since if since else 0.0,
        supervisor_pid=found.supervisor.pid if found is not None and found.alive else 0,
        versions=state.versions,
        ports=state.ports,
        addresses=state.addresses,
        pools=state.spec.pools,
        services=services,
        message=message,
    )


def kubeconfig(name: str) -> str:
    """The admin's kubeconfig of the cloud as text. It is a secret."""
    cloud = assembly.load(name, silent)
    try:
        return cloud.store.kubeconfig.read_text()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"cloud {name} has never been started", resolution=f"wecityctl local start --name {name}"
        ) from error


def _running(place: Store, teller: Teller) -> client.Found | None:
    """The cloud's running supervisor if it has the same protocol version. One of another version is stopped."""
    found = client.find(place.directory)
    if found is None or not found.alive:
        return None
    try:
        if client.ask(found, {"do": "status"})["protocol"] == PROTOCOL:
            return found
        teller.tell("step", "the supervisor is of another version and is replaced")
    except client.SupervisorError as error:
        teller.tell("warning", f"{error.message} and is replaced ({error.details})")
    _end_processes(place, teller)
    return None


def _bring_up(cloud: Cloud, found: client.Found, teller: Teller, timeout: float) -> RunningCloud:
    deadline = time.monotonic() + timeout
    touched = client.apply(found, cloud.services())
    if touched:
        teller.tell("step", f"starting {', '.join(touched)}")
    follow(found, teller, timeout)
    api = cloud.context.api
    version = str(api.get("/version")["gitVersion"])
    cluster_uid = str(api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"])
    nodes_changed = _synchronise_nodes(cloud, version, teller)
    _wait_for_default_account(api, deadline)
    for addon in cloud.addons:
        addon.after_ready(cloud.context)
    if cloud.driver is not None:
        cloud.driver.after_ready(cloud.context)
    state = replace(cloud.state, cluster_uid=cluster_uid, versions=cloud.versions())
    if state != cloud.state:
        cloud.store.save(state)
    teller.tell("ready", f"cloud {state.spec.name} is ready ({state.spec.nodes} nodes)")
    changed = bool(touched) or nodes_changed
    return _describe(cloud, version, cluster_uid, changed=changed, seconds=teller.seconds)


def _describe(cloud: Cloud, version: str, cluster_uid: str, *, changed: bool, seconds: float) -> RunningCloud:
    state = cloud.state
    return RunningCloud(
        name=state.spec.name,
        kubeconfig=cloud.store.kubeconfig.read_text(),
        kubeconfig_path=cloud.store.kubeconfig,
        context=kubeconfigs.context_name(state.spec.name),
        server=state.server,
        cluster_uid=cluster_uid,
        kubernetes_version=version,
        addresses=state.addresses,
        gateway_address=cloud.context.network.gateway_address,
        pod_cidr=cloud.context.network.pod_cidr,
        networks=cloud.context.network.networks,
        simulated=state.spec.simulated,
        changed=changed,
        seconds=seconds,
    )


def _synchronise_nodes(cloud: Cloud, version: str, teller: Teller) -> bool:
    if cloud.driver is not None:
        return False
    done = simulated_nodes.synchronise(cloud.context.api, cloud.context.spec, version)
    if done:
        counts = (("made", len(done.created)), ("changed", len(done.patched)), ("removed", len(done.deleted)))
        teller.tell("step", "simulated nodes: " + ", ".join(f"{count} {what}" for what, count in counts if count))
    return bool(done)


def _wait_for_default_account(api: Api, deadline: float) -> None:
    """Wait for the default service account, without which the first pod of a new cluster would be rejected."""
    path = "/api/v1/namespaces/default/serviceaccounts/default"
    while api.find(path) is None and time.monotonic() < deadline:
        cancellation.check()
        time.sleep(_POLL_SECONDS)


def _take_down(cloud: Cloud, teller: Teller) -> None:
    _end_processes(cloud.store, teller)
    if cloud.driver is not None:
        cloud.driver.teardown(cloud.context)
    _empty(cloud.context.run)
    shutil.rmtree(cloud.context.run, ignore_errors=True)
    client.forget(cloud.store.directory)


def _end_processes(place: Store, teller: Teller) -> None:
    """Stop the supervisor and its services: in order if it responds, otherwise by signalling the recorded processes."""
    found = client.find(place.directory)
    if found is None:
        return
    if found.alive:
        try:
            for event in client.stream(found, {"do": "stop"}, seconds=_STOP_SECONDS):
                if event.get("state") == "stopped":
                    teller.tell("service", f"{event['name']} has stopped", event["name"])
        except client.SupervisorError as error:
            teller.tell("warning", f"{error.message} ({error.details}); its processes are ended one by one")
        if not found.supervisor.wait(_LEFTOVER_GRACE):
            found.supervisor.end(_LEFTOVER_GRACE)
    # Read again, because services may have been restarted since.
    for name, identity in (client.find(place.directory) or found).children.items():
        if identity.alive():
            teller.tell("warning", f"{name} outlived its supervisor and is ended", name)
            identity.end(_LEFTOVER_GRACE)


def _clean_up_after_crash(place: Store, teller: Teller) -> None:
    found = client.find(place.directory)
    if found is None:
        return
    teller.tell("step", f"{_why_gone(found)}; cleaning up, the data is kept")
    _take_down(assembly.load(place.name, teller.relay), teller)


def _why_gone(found: client.Found) -> str:
    if found.supervisor.boot and found.supervisor.boot != boot_id():
        return "the machine was restarted while the cloud ran"
    return "the cloud's supervisor ended without being asked to"


def _load_if_readable(name: str, teller: Teller) -> Cloud | None:
    """The cloud; `None` if its state is damaged, because `reset` must work in that case too."""
    try:
        return assembly.load(name, teller.relay)
    except ConfigurationError as error:
        teller.tell("warning", error.message)
    except WecityError as error:
        teller.tell("warning", f"{error.message}: {error.details}")
    return None


def _health(services: tuple[ServiceStatus, ...]) -> tuple[Health, str]:
    required = [each for each in services if each.required]
    bad = [each for each in services if each.state in ("failed", "backoff") or (each.state == "ready" and each.reason)]
    if bad:
        return "degraded", "; ".join(f"{each.name}: {each.reason}" for each in bad)
    waiting = [each for each in required if each.state != "ready"]
    if waiting:
        return "starting", "; ".join(f"{each.name}: {each.reason or each.state}" for each in waiting)
    return "healthy", ""


def _empty(directory: Path) -> None:
    """Remove the content of a runtime directory, such as sockets of dead processes."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
