"""wecityctl brings up a city's government cloud from declarative YAML."""

__version__ = "0.1.0"
