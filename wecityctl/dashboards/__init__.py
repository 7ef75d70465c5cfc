"""Dashboards of a city: which there are, the values in their charts, and the pages that show them.

Nothing here asks a cloud (`wecityctl.operations.dashboards` does).
"""
