"""`status`: reports on a city's stacks, clouds and workloads. Changes nothing.

`examination` and `workloads` collect, `judging` says what that means for each stack, `values` holds the results.
"""

from wecityctl.operations.status.operation import CityStatus, status

__all__ = ["CityStatus", "status"]
