"""Manages the updates that engines run through the server: one change of a stack at a time, each under a lease.

An engine renews its lease while it runs. Deadlines use the monotonic clock, so that a clock change ends no lease. An
update with an expired lease may continue for an hour if nobody else wants the stack. The next update or an
administrator ends it earlier; what it has journaled is then applied to the stack's state.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from wecityctl.engine.serve.stacks import KeptLease, Stacks, named
from wecityctl.engine.serve.tokens import Token, hashed
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state_service.service_protocol import Session
from wecityctl.engine.state_service.updates import About
from wecityctl.errors import WecityError
from wecityctl.model.naming import WHO
from wecityctl.model.times import in_utc

# The engine requests this duration and renews after half of it. Source: httpstate, `newUpdate`.
LEASE_SECONDS: Final = 300
# After the lease has expired: the engine's machine may have been suspended.
LOST_SECONDS: Final = 3600
_SHORTEST_SECONDS: Final = 30
_KEPT: Final = 1000
_MOST_AT_ONCE: Final = 256
_MOST_OF_ONE: Final = 32
Told = Callable[["Lease", str], None]


@dataclass(slots=True)
class Lease(Session):
    """An update, from the engine's request on.

    `until` is the end of the lease on the monotonic clock. `started` is in seconds since 1970, 0 before the start.
    `over` says why no more requests are accepted; empty while the update may continue. `refusal` says why a journal
    batch was rejected, and so all later ones. `flaw` is what `OpenStack.end` returned.
    """

    id: str = ""
    about: About = field(default_factory=lambda: About("preview"))
    holder: Token | None = None
    token_hash: str = ""
    previews: bool = False
    until: float = 0.0
    started: int = 0
    over: str = ""
    refusal: str = ""
    flaw: str = ""
    is_completed: bool = False
    succeeded: bool = False

    @property
    def stack(self) -> str:
        """The server's name of the stack."""
        return named(self.item.states.project, self.item.stack)

    @property
    def who(self) -> str:
        return self.holder.name if self.holder is not None else "?"

    @property
    def is_settled(self) -> bool:
        """Whether the update has ended and the stack's state is written."""
        return bool(self.over) and self.item.update is None


class Leases:
    """All updates that the server knows. `told` is called with each one that has ended, and its result."""

    def __init__(self, stacks: Stacks, told: Told, clock: Callable[[], float] = time.monotonic) -> None:
        self._stacks, self._told, self._clock = stacks, told, clock
        self._turns: dict[str, asyncio.Lock] = {}
        # All leases by id: requested, running and ended. The oldest ended ones are dropped.
        self._known: OrderedDict[str, Lease] = OrderedDict()
        self._by_token: dict[str, Lease] = {}
        self._changing: dict[str, Lease] = {}
        self.is_closing = False

    def turn_of(self, stack: str) -> asyncio.Lock:
        """Return the lock to hold while an operation on a stack begins or ends."""
        return self._turns.setdefault(stack, asyncio.Lock())

    def find(self, update: str) -> Lease | None:
        """Return the update with this id; `None` for none."""
        return self._known.get(update)

    def with_token(self, given: str) -> Lease | None:
        """Return the update with this token; `None` for none."""
        found = self._by_token.get(hashed(given))
        if found is not None:
            # For an update that an earlier server began, only the hash is known.
            found.update_token = given
        return found

    def changing(self, stack: str) -> Lease | None:
        """Return the update that is changing the stack; `None` for none."""
        return self._changing.get(stack)

    def request(self, stack: str, about: About, holder: Token, *, previews: bool) -> Lease:
        """Register an engine's request to update the stack. Raises `WecityError` if there are too many."""
        self._forget()
        own = sum(1 for lease in self._known.values() if not lease.over and lease.who == holder.name)
        if own >= _MOST_OF_ONE:
            raise WecityError(
                f"{own} updates of {holder.name} are under way or asked for already",
                resolution="end some; what is asked for and not begun ends by itself in five minutes",
            )
        waiting = sum(1 for lease in self._known.values() if not lease.over)
        if waiting >= _MOST_AT_ONCE or self.is_closing:
            raise WecityError(
                "the server is being stopped" if self.is_closing else f"{waiting} updates are under way already",
                resolution="try again later",
            )
        lease = Lease(
            self._stacks.open(stack, previews=previews),
            id=str(uuid4()),
            about=about,
            holder=holder,
            previews=previews,
            until=self._clock() + LEASE_SECONDS,
        )
        self._known[lease.id] = lease
        return lease

    async def start(self, lease: Lease) -> Lease:
        """Start the update. Raises `LockedError` while another one changes the stack."""
        async with self.turn_of(lease.stack):
            if lease.started or lease.over:
                raise WecityError("the update was started already")
            if not lease.previews:
                await self.make_room(lease.stack)
                await asyncio.to_thread(self._begin, lease)
                self._changing[lease.stack] = lease
            else:
                lease.item.begin(About("preview"))
            lease.started = int(time.time())
            lease.until = self._clock() + LEASE_SECONDS
            lease.update_token = secrets.token_urlsafe(32)
            lease.token_hash = hashed(lease.update_token)
            self._by_token[lease.token_hash] = lease
            if not lease.previews:
                await asyncio.to_thread(self._persist, lease)
        return lease

    def _persist(self, lease: Lease) -> None:
        """Store the lease for the next server. If that fails, the update ends with this server."""
        assert lease.holder is not None and lease.item.update is not None
        kept = KeptLease(lease.id, lease.stack, lease.holder.id, lease.token_hash, lease.item.update.id, lease.started)
        with suppress(WecityError, OSError):
            self._stacks.keep_lease(kept)

    def adopt(self, kept: KeptLease, holder: Token) -> Lease:
        """Continue an update that a previous server began. Blocks.

        Raises `WecityError` if the update has ended, or if the previous server may still run.
        """
        item = self._stacks.open(kept.stack)
        update = self._stacks.resume(item, kept.update)
        lease = Lease(
            item,
            id=kept.id,
            about=update.about,
            holder=holder,
            token_hash=kept.token_hash,
            until=self._clock() + LEASE_SECONDS,
            started=kept.started,
        )
        self._known[lease.id] = self._by_token[lease.token_hash] = self._changing[lease.stack] = lease
        return lease

    def _begin(self, lease: Lease) -> None:
        self._stacks.require(lease.stack)
        self._stacks.release(lease.stack)
        about = lease.about
        version = self._stacks.next_version(lease.stack)
        lease.about = About(about.kind, about.message, {**about.environment, WHO: lease.who}, version)
        lease.item.begin(lease.about)

    async def make_room(self, stack: str) -> None:
        """End an update of the stack that has an expired lease, or that failed to end earlier.

        Call with the stack's turn held. Raises `LockedError` for a live update.
        """
        held = self._changing.get(stack)
        if held is None:
            return
        if held.over or held.until <= self._clock():
            await self._end(held, held.over or "its lease expired and another update began")
            return
        since = in_utc(datetime.fromtimestamp(held.started, UTC).isoformat())
        left = max(0, round(held.until - self._clock()))
        raise LockedError(
            f"{stack} is being changed by {held.who}: {held.about.kind} since {since}",
            details=f"its lease ends in {left} s unless it is renewed",
            resolution="wait until it has ended; if it is dead for certain, an administrator ends it: pulumi cancel",
        )

    async def end_lost(self) -> None:
        """End the updates whose lease expired `LOST_SECONDS` ago, so that they appear in the history."""
        for lease in list(self._changing.values()):
            if self._is_lost(lease):
                # An update that cannot be ended now is tried again later.
                with suppress(WecityError, OSError):
                    async with self.turn_of(lease.stack):
                        if self._changing.get(lease.stack) is lease and self._is_lost(lease):
                            await self._end(lease, "nothing has been heard of its engine for an hour")

    def _is_lost(self, lease: Lease) -> bool:
        return lease.until + LOST_SECONDS <= self._clock()

    def renew(self, lease: Lease, seconds: int) -> int:
        """Extend the lease by `seconds`, within bounds; return its end in seconds since 1970."""
        length = min(max(seconds, _SHORTEST_SECONDS), LEASE_SECONDS)
        lease.until = max(lease.until, self._clock() + length)
        return self.expiry(lease)

    def expiry(self, lease: Lease) -> int:
        """Return the end of the lease in seconds since 1970."""
        return int(time.time() + lease.until - self._clock())

    async def complete(self, lease: Lease, *, succeeded: bool) -> str:
        """End the update at its engine's request. Returns why the engine would reject the resulting state; empty if it
        would not.
        """
        async with self.turn_of(lease.stack):
            if not lease.is_settled:
                lease.is_completed = True
                await self._end(lease, "it has ended", succeeded=succeeded)
        return lease.flaw

    async def cancel(self, lease: Lease, who: str) -> None:
        """End the update at the request of `who`. Later requests of its engine are rejected."""
        async with self.turn_of(lease.stack):
            if not lease.is_settled:
                await self._end(lease, f"{who} has cancelled it")

    async def _end(self, lease: Lease, why: str, *, succeeded: bool = False) -> None:
        """End the update with the stack's turn held. If that fails, it can be called again."""
        lease.over = lease.over or why
        async with lease.turn:
            update = lease.item.update
            try:
                lease.flaw = await asyncio.to_thread(lease.item.end, succeeded=succeeded)
            except LockedError:
                # Somebody has removed its lock. The journal stays, and the next update replays it.
                self._changing.pop(lease.stack, None)
                raise
            except BaseException:
                lease.item.update = update
                raise
        lease.succeeded = succeeded
        if self._changing.get(lease.stack) is lease:
            del self._changing[lease.stack]
            # The update has ended. If this cleanup fails, the next update does it.
            with suppress(WecityError, OSError):
                await asyncio.to_thread(self._stacks.drop_lease, lease.stack)
                await asyncio.to_thread(self._stacks.prune, lease.stack)
        self._known.move_to_end(lease.id)
        self._told(lease, why)

    async def close(self, *, end: bool) -> list[str]:
        """Accept no more updates, because the server stops. Returns the updates that could not be ended.

        With `end`, running updates are ended; otherwise the next server continues them.
        """
        self.is_closing = True
        failed = list[str]()
        if not end:
            return failed
        for lease in list(self._changing.values()):
            try:
                async with self.turn_of(lease.stack):
                    await self._end(lease, "the server was stopped")
            except WecityError as error:
                failed.append(f"{lease.stack}: {error.message}")
            except Exception as error:
                # A failure must not keep the other updates from being ended.
                failed.append(f"{lease.stack}: {type(error).__name__}")
        return failed

    def _forget(self) -> None:
        """Drop previews and requests with an expired lease, and the oldest ended updates."""
        now = self._clock()
        for lease in list(self._known.values()):
            if not lease.over and lease.until <= now and self._changing.get(lease.stack) is not lease:
                lease.over, lease.item.update = "its lease expired", None
        ended = [lease for lease in self._known.values() if lease.is_settled]
        for lease in ended[: max(0, len(ended) - _KEPT)]:
            del self._known[lease.id]
            self._by_token.pop(lease.token_hash, None)
