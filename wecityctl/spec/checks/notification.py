"""Checks of the City's channels for messages: somebody sends by them, and each is complete."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.model.notification import NOTIFICATION, Channel
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity

_BASE = ("spec", "notification")


def sends(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Where channels are named, a capability of the city sends by them."""
    kinds = [kind.name for kind in parsed_city.catalogue.values() if NOTIFICATION in (kind.name, *kind.provides)]
    if not parsed_city.knows_all("Platform") or any(item.type in kinds for _, _, item in parsed_city.capabilities()):
        return
    expected = f"a capability of type {one_of(kinds)}, or no channels" if kinds else "no channels"
    for source in parsed_city.cities:
        if source.value.notification is not None:
            message = "the city has no capability that sends messages"
            yield source.problem(_BASE, message, expected, on_key=True)


def channels(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A channel says where its messages go, in a way that nobody listens to; or it keeps them."""
    for source in parsed_city.cities:
        for name, item in source.value.notification.channels.items() if source.value.notification else ():
            for field, message, expected in _faults(name, item):
                path = (*_BASE, name, *([field] if field else []))
                yield source.problem(path, message, expected, on_key=not field)


def _faults(name: str, item: Channel) -> Iterator[tuple[str, str, str]]:
    """Yield the field, what is wrong, and what is expected; without a field it is of the whole channel.

    With `sink`, the rest is of no use and may stay, so that an environment adds that line alone.
    """
    needed = ("server", "sender") if name == "mail" else ("url",)
    missing = " and ".join(field for field in needed if not getattr(item, field))
    if missing and not item.sink:
        yield "", f"nothing is sent by {name} without {missing}", f"{missing}, or `sink: true`"
    if item.url.startswith("http:"):
        yield "url", "messages would be sent unencrypted", f"https{item.url[4:]}"


def own_secrets(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The secrets of channels have names of their own among those of the city."""
    for source in parsed_city.cities:
        city = source.value
        taken = dict.fromkeys(city.images.credentials.values(), "images.credentials")
        taken |= dict.fromkeys(city.compliance.backup.secrets, "compliance.backup")
        for name, item in city.notification.channels.items() if city.notification else ():
            for field in ("credentials", "authority"):
                if (secret := getattr(item, field)) in taken:
                    message = f"the secret {secret!r} is that of {taken[secret]} already"
                    yield source.problem((*_BASE, name, field), message, "a secret of its own")


CHECKS: tuple[Check, ...] = (sends, channels, own_secrets)
