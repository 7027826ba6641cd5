import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter
from oracles import drift

SPAN_UM = (0.0, 800.0)


@pytest.fixture
def span_um():
    """Of the peaks of `oracles.drift`."""
    return SPAN_UM


@pytest.fixture
def run(method):
    """Estimate by `method`, a fixture of the test's module, from plain arrays; keywords are its parameters."""

    def run(peaks, duration_s=40.0, span_um=SPAN_UM, jobs=1, **parameters):
        parameters = method.Parameters(**parameters)
        return method.estimate(DepthPeaks(*peaks), span_um, duration_s, parameters, Reporter(), jobs)

    return run


@pytest.fixture
def error_um():
    """Mean difference of a motion from the true one of `oracles.drift`."""

    def error_um(motion):
        bins = motion.temporal_bins_s, motion.spatial_bins_um
        return drift.mean_error_um(motion.displacement_um, *bins, SPAN_UM[1])

    return error_um


@pytest.fixture
def check_refused_peaks():
    """Hold that an estimate, called with (time, depth, amplitude) and a duration, refuses peaks it can't use."""

    def check(run):
        with pytest.raises(InputError, match="no peaks"):
            run((np.zeros(0), np.zeros(0), np.zeros(0)))
        time_s, depth_um, amplitude = drift.peaks(count=500)
        with pytest.raises(InputError, match=r"^none of the 500 peaks"):
            run((time_s, depth_um + 5000, amplitude))
        with pytest.raises(InputError, match=r"^none of the 500 peaks"):
            run((time_s + 41, depth_um, amplitude))
        depth_um[3] = np.nan
        with pytest.raises(InputError, match="depth of 1 of"):
            run((time_s, depth_um, amplitude))

    return check
