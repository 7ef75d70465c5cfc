"""Connects to the clusters behind a city's clouds."""

from wecityctl.clusters.elsewhere import open_provisioned
from wecityctl.clusters.embedded import local_name, must_start, require_own
from wecityctl.clusters.opening import open_clusters, told_of_their_clouds

__all__ = ["local_name", "must_start", "open_clusters", "open_provisioned", "require_own", "told_of_their_clouds"]
