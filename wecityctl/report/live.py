"""The live tree on a terminal: the stacks, the operations and durations of each, and what is waited for and why.

A view of `_State`, which events change. Rich's own thread draws it four times a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text
from rich.tree import Tree

from wecityctl.model.events import (
    Diagnostic,
    Event,
    Progress,
    ResourceFinished,
    ResourceStarted,
    ResourceWaiting,
    RunStarted,
    StackFinished,
    StackResult,
    StackStarted,
)
from wecityctl.report.words import (
    COLOURS,
    MARKS,
    OUTCOME_COLOURS,
    count_changes,
    duration,
    kind_of,
    outcome_word,
    progress_line,
)

_MOST_RESOURCES = 6


@dataclass
class _Resource:
    title: str
    colour: str
    started: float
    waiting: str = ""


@dataclass
class _Stack:
    started: float = 0.0
    done: int = 0
    result: StackResult | None = None
    running: dict[str, _Resource] = field(default_factory=dict)


@dataclass
class _State:
    stacks: dict[str, _Stack] = field(default_factory=dict)
    work: dict[str, Progress] = field(default_factory=dict)


class LiveReporter:
    """Draws on `console` within the block; warnings scroll past above the tree."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._state = _State()
        self._lock = threading.Lock()
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=4, transient=True, redirect_stdout=False
        )

    def __enter__(self) -> LiveReporter:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._take(event)
        if isinstance(event, Diagnostic) and event.severity in ("warning", "error"):
            style = "red" if event.severity == "error" else "yellow"
            self._console.print(Text(f"{event.severity}: {event.message.strip()}", style=style))

    def render(self) -> RenderableType:
        """Return the current tree."""
        with self._lock:
            now = self._clock()
            parts: list[RenderableType] = [_work_line(item) for item in self._state.work.values()]
            parts += [_stack_tree(name, stack, now) for name, stack in self._state.stacks.items()]
        return Group(*parts)

    def _take(self, event: Event) -> None:
        stacks = self._state.stacks
        match event:
            case RunStarted():
                self._state.stacks = {name: _Stack() for name in event.stacks}
                self._state.work = {}
            case StackStarted():
                stacks.setdefault(event.stack, _Stack()).started = self._clock()
            case ResourceStarted():
                title = f"{MARKS[event.op]} {kind_of(event.type)} {event.name}"
                running = stacks.setdefault(event.stack, _Stack()).running
                running[event.urn] = _Resource(title, COLOURS[event.op], self._clock())
            case ResourceWaiting():
                running = stacks.setdefault(event.stack, _Stack()).running
                if event.urn in running:
                    running[event.urn].waiting = event.reason
            case ResourceFinished():
                stack = stacks.setdefault(event.stack, _Stack())
                stack.running.pop(event.urn, None)
                stack.done += 1
            case StackFinished(result=result):
                stack = stacks.setdefault(result.stack, _Stack())
                stack.result = result
                stack.running.clear()
            case Progress():
                self._state.work.pop(event.subject, None)
                if not event.done:
                    self._state.work[event.subject] = event
            case _:
                pass


def _work_line(item: Progress) -> RenderableType:
    return Spinner("dots", Text(progress_line(item), style="dim"))


def _stack_tree(name: str, stack: _Stack, now: float) -> RenderableType:
    if stack.result is not None:
        result = stack.result
        style = OUTCOME_COLOURS[result.outcome]
        told = f"{outcome_word(result)} {count_changes(result)}  {duration(result.seconds)}"
        return Text(f"● {name}  {told}", style=style)
    if not stack.started:
        return Text(f"○ {name}", style="dim")
    head = f"{name}  {duration(now - stack.started)}" + (f"  {stack.done} done" if stack.done else "")
    tree = Tree(Spinner("dots", Text(head, style="bold")))
    # Waiting resources come first, because readers look for them.
    running = sorted(stack.running.values(), key=lambda item: (not item.waiting, item.started))
    for item in running[:_MOST_RESOURCES]:
        line = Text(f"{item.title}  {duration(now - item.started)}", style=item.colour)
        tree.add(line.append(f"  {item.waiting}", style="dim") if item.waiting else line)
    if len(running) > _MOST_RESOURCES:
        tree.add(Text(f"… and {len(running) - _MOST_RESOURCES} more", style="dim"))
    return tree
