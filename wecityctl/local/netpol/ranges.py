"""Set operations on sorted, disjoint, inclusive integer ranges, as nftables' interval sets need them."""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.local.netpol.model import Range


def merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The union of the ranges; adjacent ones are merged."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract(ranges: Iterable[Range], holes: Iterable[Range]) -> tuple[Range, ...]:
    """`ranges` without `holes`."""
    left = list(merge(ranges))
    for hole_first, hole_last in merge(holes):
        next_left: list[Range] = []
        for first, last in left:
            if hole_last < first or last < hole_first:
                next_left.append((first, last))
                continue
            if first < hole_first:
                next_left.append((first, hole_first - 1))
            if hole_last < last:
                next_left.append((hole_last + 1, last))
        left = next_left
    return tuple(left)
