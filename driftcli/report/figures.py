"""The figures of one correction, by the names of their files, in the order that they are looked at in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from driftcli.report.clusters import clusters
from driftcli.report.drift_map import drift_map
from driftcli.report.peaks_on_probe import peaks_on_probe
from driftcli.report.times import times
from driftcli.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAW: dict[str, Callable[[View], Figure]] = {
    "drift_map": drift_map,
    "peaks_on_probe": peaks_on_probe,
    "clusters": clusters,
    "times": times,
}
