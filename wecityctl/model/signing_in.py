"""Who lets people sign in at the entry point: pure functions of the files, for checks, plan and stacks.

A capability whose type has `sign_in` serves the main entry point of the city, and uses the identity server.
"""

from __future__ import annotations

from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import Capability, City
from wecityctl.model.requirements import uses_of

# The host, below the city's domain, of the pages where people sign in.
HOST = "id"


def sign_in_of(city: City, catalogue: Catalogue) -> Capability | None:
    """The capability where people sign in; `None` if the city has none."""
    return next((item for item in city.capabilities if item.type in catalogue and catalogue[item.type].sign_in), None)


def people_of(city: City, catalogue: Catalogue, sign_in: Capability) -> Capability | None:
    """The capability that knows the people: the first that the sign-in service uses; `None` if there is none."""
    use = next(iter(uses_of(sign_in, city.capabilities, catalogue)), None)
    return next((item for item in city.capabilities if use is not None and item.name == use.capability), None)


def public_host(city: City) -> str:
    """The host at which people sign in."""
    return naming.entry_host(HOST, city.domain)
