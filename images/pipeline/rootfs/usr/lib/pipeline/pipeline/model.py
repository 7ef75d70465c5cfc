"""The forecast: the mean of the same hour of the last days, and how far this mean has been off.

It knows no trend, weather or holiday. It is a baseline that a department replaces by a better model, and against which
that one can be measured: `error` is measured in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

DAYS = 7
HOURS = 24


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of an hour. `lowest` and `highest` are of the `days` values that it is the mean of; `error` is
    the mean absolute error of this method over the last 24 hours that it could be measured in, None if in none."""

    hour: datetime
    expected: float
    lowest: float
    highest: float
    days: int
    error: float | None


def forecast(means: Mapping[datetime, float], now: datetime) -> list[Forecast]:
    """The next 24 hours of one group, without those of which no day has a value. `means` is by full hours."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    error = _error(means, this_hour)
    found = []
    for ahead in range(1, HOURS + 1):
        hour = this_hour + timedelta(hours=ahead)
        if values := _same_hours(means, hour, this_hour):
            found.append(Forecast(hour, fmean(values), min(values), max(values), len(values), error))
    return found


def _same_hours(means: Mapping[datetime, float], hour: datetime, before: datetime) -> list[float]:
    """The values of the same hour of the last days, of hours that are over at `before`."""
    days = (hour - timedelta(days=number) for number in range(1, DAYS + 1))
    return [means[day] for day in days if day in means and day < before]


def _error(means: Mapping[datetime, float], this_hour: datetime) -> float | None:
    """How far the forecast of a day before was off, on average over the last day."""
    hours = (this_hour - timedelta(hours=number) for number in range(1, HOURS + 1))
    differences = [
        abs(means[hour] - fmean(values))
        for hour in hours
        if hour in means and (values := _same_hours(means, hour, hour))
    ]
    return fmean(differences) if differences else None
