"""Creating an object once, whatever becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from wecityctl.errors import DeploymentError
from wecityctl.objects.idempotent_writes import LostAnswerError, create_once, repeat
from wecityctl.objects.model import Limits

LIMITS = Limits(seconds=1.0, attempts=3, pause=0.001)


def answers(*given: object) -> Callable[[], object]:
    """A function that returns one after the other, or raises `LostAnswerError` for "lost"."""
    left: Iterator[object] = iter(given)

    def answer() -> object:
        found = next(left)
        if found == "lost":
            raise LostAnswerError("lost")
        return found

    return answer


@pytest.mark.parametrize(
    ("writes", "tokens", "created"),
    [
        ((True,), (), True),
        ((False,), ("other",), False),
        ((False,), ("",), False),
        (("lost", False), ("mine",), True),
        (("lost", False), ("other",), False),
        (("lost", "lost", "lost"), ("mine",), True),
        # Refused for a conflict with a deletion, though nothing is there.
        ((False, True), (None,), True),
        ((False, False), ("lost", "mine"), True),
    ],
)
def test_a_call_knows_its_own_object(writes: tuple[object, ...], tokens: tuple[object, ...], created: bool) -> None:
    made = create_once(LIMITS, answers(*writes), answers(*tokens), "mine", "create x")  # type: ignore[arg-type]
    assert made is created


@pytest.mark.parametrize(
    ("writes", "tokens"),
    [(("lost",) * 3, ("lost",)), (("lost",) * 3, (None,)), (("lost",) * 3, ("other",)), ((False,) * 3, (None,) * 4)],
)
def test_what_is_not_known_is_no_answer(writes: tuple[object, ...], tokens: tuple[object, ...]) -> None:
    with pytest.raises(DeploymentError, match="cannot create x") as refused:
        create_once(LIMITS, answers(*writes), answers(*tokens), "mine", "create x")  # type: ignore[arg-type]
    assert "it is not known whether the object was created" in refused.value.details


def test_repeating_ends() -> None:
    assert repeat(LIMITS, answers("lost", "lost", 7), "read x") == 7
    with pytest.raises(DeploymentError, match="cannot read x: no usable answer after 3 attempts of at most 1 s"):
        repeat(LIMITS, answers("lost", "lost", "lost", 7), "read x")
