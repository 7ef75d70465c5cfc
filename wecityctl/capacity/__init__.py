"""What a city's clouds have, what is asked of them, what is left: read from the clusters, or declared by the files.

`attribution` and `figures` are pure; `reading` alone asks clusters.
"""

from wecityctl.capacity.reading import read_capacity

__all__ = ["read_capacity"]
