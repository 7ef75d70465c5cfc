"""From a city's files to its model, with the place of every problem; `load_city` is the way in."""

from wecityctl.spec.load import LoadedCity, Positions, load_city
from wecityctl.spec.nodes import Place

__all__ = ["LoadedCity", "Place", "Positions", "load_city"]
