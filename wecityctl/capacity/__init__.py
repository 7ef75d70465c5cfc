"""The capacity of a city's clouds, what is requested of it, and what is free: from the clusters, or from the files.

`attribution` and `figures` are pure; only `reading` makes requests to clusters.
"""

from wecityctl.capacity.reading import read_capacity

__all__ = ["read_capacity"]
