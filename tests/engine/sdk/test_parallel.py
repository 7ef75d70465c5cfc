"""Stacks recorded in several processes: the same recordings in the same order, and nobody's error is another's."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import CLUSTER, IMAGES, app, city
from wecityctl.engine.sdk import parallel
from wecityctl.engine.sdk.parallel import record_each
from wecityctl.engine.sdk.recorder import record
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.inputs import StackInputs
from wecityctl.plan import make_plan
from wecityctl.resource_graph import Recording

COUNT = 2 * parallel.WORTH_IT + 1


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> Sequence[StackInputs]:
    """Tenants enough for two processes, whatever this machine has."""
    monkeypatch.setattr(parallel, "_processors", lambda: 2)
    base = city(app("code"))
    tenants = tuple(replace(base.tenants[0], name=f"bureau-{number}") for number in range(COUNT))
    return tuple(_inputs(replace(base, tenants=tenants, apps=(), platforms=())))


def _inputs(whole: object) -> Iterator[StackInputs]:
    catalogue = load_catalogue()
    plan = make_plan(whole, catalogue)  # type: ignore[arg-type]
    for stack in plan.stacks:
        if stack.layer == "tenant":
            yield StackInputs(
                plan.city, stack, plan.placement, catalogue, CLUSTER, dict.fromkeys(stack.depends_on), IMAGES, ""
            )


def test_the_recordings_are_those_of_one_process_in_the_same_order(inputs: Sequence[StackInputs]) -> None:
    assert len(inputs) == COUNT
    found = record_each(inputs)
    assert [settled(outcome) for outcome in found] == [settled(record(one)) for one in inputs]
    assert gc.isenabled()


def test_two_processes_do_it(inputs: Sequence[StackInputs]) -> None:
    found = record_each(inputs, _telling_its_process)
    assert {outcome.stack for outcome in found if isinstance(outcome, Recording)} >= {str(os.getpid())}
    assert len({outcome.stack for outcome in found if isinstance(outcome, Recording)}) == 2


def test_an_error_is_its_own_stacks_and_keeps_its_words(inputs: Sequence[StackInputs]) -> None:
    found = record_each(inputs, _failing)
    kinds = [type(outcome) for outcome in found]
    assert kinds == [
        ConfigurationError if number == 2 else RuntimeError if number in (3, 4) else Recording
        for number in range(COUNT)
    ]
    assert isinstance(found[2], ConfigurationError)
    assert (found[2].message, found[2].resolution) == ("no SDK", "pip install it")
    assert "_CannotTravelError" in str(found[3]), "an error that cannot be sent is told in its words"


def test_a_process_that_dies_leaves_nothing_unsaid(inputs: Sequence[StackInputs]) -> None:
    found = record_each(inputs, _dying_elsewhere(os.getpid()))
    died = [outcome for outcome in found if isinstance(outcome, WecityError)]
    assert len(died) == COUNT // 2
    assert "has died" in str(died[0])


def settled(outcome: Recording | Exception) -> Recording:
    """A recording without the orders that the SDK leaves to chance, and without the stack above the resources: that is
    the one which the process recorded first."""
    assert isinstance(outcome, Recording)
    resources = [
        replace(
            item,
            depends_on=tuple(sorted(item.depends_on)),
            parent="" if "pulumi:pulumi:Stack::" in item.parent else item.parent,
        )
        for item in outcome.resources
    ]
    return replace(outcome, resources=tuple(sorted(resources, key=lambda item: item.urn)))


def _number(inputs: StackInputs) -> int:
    return int(inputs.stack.subject.rpartition("-")[2])


def _telling_its_process(inputs: StackInputs) -> Recording:
    return replace(record(inputs), stack=str(os.getpid()))


class _CannotTravelError(RuntimeError):
    def __init__(self) -> None:
        super().__init__("it holds what cannot be sent")
        self.held = lambda: None


def _failing(inputs: StackInputs) -> Recording:
    if _number(inputs) == 2:
        raise ConfigurationError("no SDK", resolution="pip install it")
    if _number(inputs) == 3:
        raise _CannotTravelError
    if _number(inputs) == 4:
        raise RuntimeError("plain")
    return record(inputs)


def _dying_elsewhere(here: int) -> object:
    def run(inputs: StackInputs) -> Recording:
        if os.getpid() != here:
            os._exit(9)
        return record(inputs)

    return run
