import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from driftcli.errors import InputError, UsageError
from driftcli.estimate.histogram import amplitude_histogram, motion_histogram, spatial_bins, temporal_bins
from driftcli.model import DepthPeaks
from oracles import drift, iterative_template

EDGES_S, EDGES_UM = np.arange(0, 41, 2.0), np.arange(-20, 821, 5.0)


@pytest.fixture
def peaks():
    return DepthPeaks(*drift.peaks())


def dense(histogram, n_columns, n_layers):
    image = np.zeros((len(histogram.starts) - 1, n_columns, n_layers))
    rows = np.repeat(np.arange(len(image)), np.diff(histogram.starts))
    image[rows, histogram.depth_bin, histogram.amplitude_bin] = histogram.value
    return image


@pytest.mark.parametrize("n_samples", [2, 29_999, 59_999, 60_000, 60_001, 60_002, 3_000_000, 3_000_002, 123_456_789])
@pytest.mark.parametrize("bin_s", [0.1, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("rate_hz", [10_000.0, 29_999.954, 30_000.0, 40_000.0])
def test_temporal_bins_are_the_peers(n_samples, bin_s, rate_hz):
    # make_2d_motion_histogram of SpikeInterface 0.105.3
    last_s = (n_samples - 1) / rate_hz
    expected = np.arange(0, last_s + bin_s, bin_s)
    if n_samples / rate_hz > expected[-1] + 1e-6 * bin_s:  # here the last sample, where it begins a bin, has that bin
        expected = np.append(expected, expected[-1] + bin_s)
    edges = temporal_bins(n_samples / rate_hz, bin_s)
    np.testing.assert_allclose(edges, expected, rtol=1e-6)
    assert edges[0] == 0
    assert edges[-1] >= n_samples / rate_hz


@pytest.mark.parametrize(
    ("n_samples", "rate_hz", "n_bins"),
    [(400_002, 40_000, 11), (400_000, 40_000, 10), (100_002, 10_000, 11), (100_000, 10_000, 10), (1, 30_000, 1)],
)
def test_the_bins_do_not_depend_on_the_rate(n_samples, rate_hz, n_bins):
    assert len(temporal_bins(n_samples / rate_hz, 1.0)) - 1 == n_bins


@pytest.mark.parametrize("rate_hz", [10_000, 30_000, 40_000])
def test_a_single_sample_beyond_whole_bins_has_its_own(rate_hz):
    assert len(temporal_bins((10 * rate_hz + 1) / rate_hz, 1.0)) - 1 == 11


@settings(deadline=None, max_examples=200)
@given(
    duration_s=st.one_of(st.floats(1e-5, 1e5), st.integers(1, 10**6).map(lambda n: n * 0.1 * (1 + 2e-16 * (n % 9)))),
    bin_s=st.sampled_from([0.1, 0.3, 1.0, 2.0, 60.0]),
)
def test_no_peak_of_the_recording_is_outside_all_bins(duration_s, bin_s):
    edges = temporal_bins(duration_s, bin_s)
    peaks = DepthPeaks(np.array([0.0, duration_s]), np.full(2, 3.0), np.ones(2))
    found = motion_histogram(peaks, edges, np.array([0.0, 5.0]), weight_with_amplitude=False)
    assert found.sum() == 2
    assert edges[-2] < duration_s


def test_an_empty_recording_has_no_bins():
    with pytest.raises(InputError, match="0 s"):
        temporal_bins(0.0, 1.0)


@pytest.mark.parametrize("margin", [-100.0, 0.0, 20.0, 33.0])
@pytest.mark.parametrize("bin_um", [1.0, 5.0, 7.0])
def test_spatial_bins_cover_the_span_with_its_margin(bin_um, margin):
    edges = spatial_bins((-40.0, 1240.0), bin_um, margin)
    assert edges[0] == -40 - margin
    assert 1240 + margin <= edges[-1] < 1240 + margin + bin_um
    np.testing.assert_allclose(np.diff(edges), bin_um)


def test_one_depth_has_one_bin():
    np.testing.assert_array_equal(spatial_bins((30.0, 30.0), 5.0, 0.0), [30, 35])


def test_a_margin_that_leaves_nothing_is_an_error():
    with pytest.raises(UsageError, match="hist_margin_um=-60"):
        spatial_bins((0.0, 100.0), 5.0, -60.0)


def test_counts_are_those_of_a_general_histogram(peaks):
    expected = np.histogramdd(np.column_stack([peaks.time_s, peaks.depth_um]), bins=(EDGES_S, EDGES_UM))[0]
    np.testing.assert_array_equal(motion_histogram(peaks, EDGES_S, EDGES_UM, weight_with_amplitude=False), expected)
    assert expected.sum() > 10_000


@settings(deadline=None, max_examples=50)
@given(
    bin_um=st.sampled_from([0.1, 0.3, 1.0, 5.0, 7.7]),
    lowest=st.sampled_from([-33.3, 0.0, 12.0]),
    n_bins=st.integers(1, 400),
    data=st.data(),
)
def test_values_on_and_beside_edges_fall_as_in_a_search(bin_um, lowest, n_bins, data):
    edges = np.arange(n_bins + 1) * bin_um + lowest
    near = edges[data.draw(st.lists(st.integers(0, n_bins), min_size=1, max_size=30))]
    depth = np.concatenate([near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf), [lowest]])
    peaks = DepthPeaks(np.zeros(len(depth)), depth, np.ones(len(depth)))
    found = motion_histogram(peaks, np.array([0.0, 1.0]), edges, weight_with_amplitude=False)[0]
    np.testing.assert_array_equal(found, np.histogram(depth, edges)[0])


@pytest.mark.parametrize("avg_in_bin", [True, False])
def test_amplitudes_are_summed_or_averaged(peaks, avg_in_bin):
    found = motion_histogram(peaks, EDGES_S, EDGES_UM, weight_with_amplitude=True, avg_in_bin=avg_in_bin)
    places = np.column_stack([peaks.time_s, peaks.depth_um])
    expected = np.histogramdd(places, bins=(EDGES_S, EDGES_UM), weights=np.abs(peaks.amplitude))[0]
    if avg_in_bin:
        expected /= np.maximum(np.histogramdd(places, bins=(EDGES_S, EDGES_UM))[0], 1)
    np.testing.assert_array_equal(found, expected)


def test_smoothing_is_gaussian_in_um_and_seconds(peaks):
    plain = motion_histogram(peaks, EDGES_S, EDGES_UM, weight_with_amplitude=False)
    smooth = motion_histogram(
        peaks, EDGES_S, EDGES_UM, weight_with_amplitude=False, depth_smooth_um=10.0, time_smooth_s=3.0
    )
    expected = gaussian_filter1d(gaussian_filter1d(plain, 2.0, axis=1, mode="constant"), 1.5, axis=0, mode="constant")
    np.testing.assert_array_equal(smooth, expected)


@pytest.mark.parametrize("num_amp_bins", [1, 20])
def test_amplitude_bins_are_those_of_a_general_histogram(peaks, num_amp_bins):
    found = amplitude_histogram(peaks, EDGES_S, EDGES_UM, num_amp_bins)
    columns = (peaks.time_s, peaks.depth_um, peaks.amplitude)
    expected = iterative_template.image(*columns, EDGES_S, EDGES_UM, num_amp_bins)
    np.testing.assert_array_equal(dense(found, len(EDGES_UM) - 1, num_amp_bins), expected)
    assert (found.value > 0).all()


def test_equal_and_zero_amplitudes_share_the_lowest_bin():
    peaks = DepthPeaks(np.zeros(4), np.full(4, 3.0), np.array([0.0, -1.0, -100.0, 0.0]))
    found = amplitude_histogram(peaks, np.array([0.0, 1.0]), np.array([0.0, 5.0]), 4)
    np.testing.assert_array_equal(dense(found, 1, 4)[0, 0], np.log2([4, 1, 1, 2]))
    same = DepthPeaks(np.zeros(4), np.full(4, 3.0), np.full(4, -7.0))
    found = amplitude_histogram(same, np.array([0.0, 1.0]), np.array([0.0, 5.0]), 4)
    np.testing.assert_array_equal(dense(found, 1, 4)[0, 0], np.log2([5, 1, 1, 1]))


def test_no_peaks_are_an_error():
    none = DepthPeaks(np.zeros(0), np.zeros(0), np.zeros(0))
    with pytest.raises(InputError, match="no peaks"):
        motion_histogram(none, EDGES_S, EDGES_UM, weight_with_amplitude=False)


def test_peaks_outside_are_left_out_but_not_all():
    peaks = DepthPeaks(np.array([1.0, 1.0, 50.0]), np.array([3.0, -999.0, 3.0]), np.ones(3))
    assert motion_histogram(peaks, EDGES_S, EDGES_UM, weight_with_amplitude=False).sum() == 1
    outside = DepthPeaks(peaks.time_s[1:], peaks.depth_um[1:], peaks.amplitude[1:])
    with pytest.raises(InputError, match=r"^none of the 2 peaks"):
        motion_histogram(outside, EDGES_S, EDGES_UM, weight_with_amplitude=False)


@pytest.mark.parametrize("column", ["time", "depth", "amplitude"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(column, value):
    columns = {"time": np.ones(3), "depth": np.ones(3), "amplitude": np.ones(3)}
    columns[column][1] = value
    with pytest.raises(InputError, match=f"the {column} of 1 of 3 peaks"):
        motion_histogram(DepthPeaks(*columns.values()), EDGES_S, EDGES_UM, weight_with_amplitude=False)
