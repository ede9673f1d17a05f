"""Samplers that other installed packages offer under a name of their own.

A package declares ``[project.entry-points."negsieve.samplers"] nearby = "shop_sampler:nearby"``.
Listing the names imports nothing; the package is imported when its name is used.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

GROUP = "negsieve.samplers"


def plugins() -> dict[str, EntryPoint]:
    """Name -> entry point of every installed package that offers a sampler, sorted by name.

    ``.load()`` gives the function. Where two packages offer one name, the one that Python's path
    finds first stands.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, point)
    return dict(sorted(found.items()))
