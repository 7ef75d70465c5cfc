"""`destroy`: deletes the city's stacks, and previews what would be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.operations.options import DestroyOptions, run_options
from wecityctl.operations.rollouts.removal import without_records
from wecityctl.operations.stack_operation import begin

if TYPE_CHECKING:
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session


def destroy(session: Session, options: DestroyOptions, emit: Emit) -> RunResult:
    """Delete the city's stacks in reverse order, or those that match `options.only` and their dependants.

    The caller has obtained confirmation. Raises `WecityError` for errors that stop the run before it begins.
    """
    chosen = session.needing(options.only)
    with begin(chosen, run_options("destroy", options), emit) as work:
        work.open_clusters()
        work.find_given_stacks(options.only)
        work.require_a_cloud()
        return without_records(work, work.run_once())


def preview_destroy(session: Session, options: DestroyOptions, emit: Emit) -> RunResult:
    """Return what `destroy` would delete and retain, from the states; nothing is started, locked or changed."""
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.removal import preview
    from wecityctl.engine.state.backend import open_backend

    chosen = session.needing(options.only)
    backend = open_backend(session.city)
    clusters = open_clusters(session.city, session.catalogue, emit, start=False, backend=backend)
    return preview.preview_destroy(chosen.plan, clusters, backend, emit, delete_data=options.delete_data)


def stop_clouds(session: Session, *, delete_data: bool) -> tuple[str, ...]:
    """Stop the city's embedded clouds, or reset them with `delete_data`; return the names of the existing ones.

    Raises `ConfigurationError` if one is another city's; then none is stopped.
    """
    from wecityctl.clusters import require_own
    from wecityctl.local import cloud as embedded

    names = [require_own(session.city, cloud) for cloud in session.city.clouds if cloud.provider == "local"]
    found = tuple(name for name in names if name in embedded.names())
    for name in found:
        (embedded.reset if delete_data else embedded.stop)(name)
    return found
