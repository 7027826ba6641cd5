"""The same bytes, whatever the chunks and threads."""

import numpy as np
import pytest

from driftcli.workflow.work import Work

OUTPUTS = ("peaks.h5", "motion.h5", "corrected.bin", "probe.json")
CHUNKS_S = [0.1, 0.777, 3600.0]
LOCALIZE = ["center_of_mass", "grid_convolution", "monopolar_triangulation"]


@pytest.fixture(scope="module")
def expected():
    return {}


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.parametrize("chunk_s", CHUNKS_S)
@pytest.mark.parametrize("localize", LOCALIZE)
def test_chunks_and_threads_change_no_byte(drifting, run_verbs, expected, localize, chunk_s, jobs):
    changes = [f"localize.method={localize}", "interpolate.time=linear"]
    out = run_verbs(drifting, "rec", changes=changes, work=Work(jobs=jobs, chunk_s=chunk_s))
    got = {name: (out / name).read_bytes() for name in OUTPUTS}
    first = expected.setdefault(localize, got)
    for name in OUTPUTS:
        assert got[name] == first[name], name


@pytest.mark.parametrize("select", ["uniform", "smart_sampling_amplitudes"])
def test_selected_peaks_are_the_same_too(drifting, run_verbs, select):
    changes = [f"select.method={select}", "select.n_peaks=300"]
    one = run_verbs(drifting, "one", changes=changes, work=Work(jobs=1, chunk_s=60.0))
    four = run_verbs(drifting, "four", changes=changes, work=Work(jobs=4, chunk_s=0.1))
    assert (one / "peaks.h5").read_bytes() == (four / "peaks.h5").read_bytes()


def test_weights_that_are_fitted_are_the_same_too(drifting, run_verbs):
    changes = ["interpolate.method=fitted_gaussian_process", "interpolate.time=linear"]
    one = run_verbs(drifting, "one", changes=changes, work=Work(jobs=1, chunk_s=60.0))
    four = run_verbs(drifting, "four", changes=changes, work=Work(jobs=4, chunk_s=0.1))
    plain = run_verbs(drifting, "plain", changes=["interpolate.method=gaussian_process", "interpolate.time=linear"])
    assert (one / "corrected.bin").read_bytes() == (four / "corrected.bin").read_bytes()
    assert (one / "corrected.bin").read_bytes() != (plain / "corrected.bin").read_bytes()


def test_raw_and_float_outputs_are_the_same_too(drifting, run_verbs):
    outputs = [
        run_verbs(drifting, name, changes=["apply.signal=raw"], dtype="float32", work=work)
        for name, work in (("a", Work(jobs=1, chunk_s=0.1)), ("b", Work(jobs=3, chunk_s=2.0)))
    ]
    one, other = ((out / "corrected.bin").read_bytes() for out in outputs)
    assert one == other
    assert len(one) == 4 * np.asarray(drifting).size
