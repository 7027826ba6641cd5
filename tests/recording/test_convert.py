"""File values to traces and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftcli.errors import InputError
from driftcli.recording.convert import from_traces, to_traces
from oracles import convert as oracle

RUN, SHUFFLED = np.arange(2, 6), np.array([5, 0, 3, 2])


def samples_of(dtype, num_samples=50, num_columns=7):
    return np.random.default_rng(1).normal(0, 3000, (num_samples, num_columns)).astype(dtype)


@pytest.mark.parametrize("dtype", ["<i2", "<f4"])
@pytest.mark.parametrize("columns", [RUN, SHUFFLED], ids=["run", "shuffled"])
@pytest.mark.parametrize("pads", [(0, 0), (3, 0), (0, 4), (60, 70)], ids=str)
def test_traces_are_those_of_the_oracle(dtype, columns, pads):
    samples, gain = samples_of(dtype), np.array([2.34375, 0.195, 1.0, 4.69])
    samples.flags.writeable = False
    traces = to_traces(samples, columns, gain, *pads)
    assert traces.dtype == np.float32
    assert traces.flags.c_contiguous
    np.testing.assert_allclose(traces, oracle.to_traces(samples, columns, gain, *pads), rtol=1e-6, atol=1e-2)


@pytest.mark.parametrize("columns", [RUN, SHUFFLED], ids=["run", "shuffled"])
def test_without_a_gain_traces_are_the_file_values(columns):
    samples = samples_of("<i2")
    np.testing.assert_array_equal(to_traces(samples, columns, None), samples[:, columns])


def test_padding_of_a_single_sample_repeats_it():
    traces = to_traces(np.array([[3, 5]], "<i2"), np.array([0, 1]), None, 2, 2)
    np.testing.assert_array_equal(traces, np.tile([3, 5], (5, 1)))


def test_padding_continues_a_ramp():
    ramp = np.arange(20, 40, dtype="<i2")[:, None]
    traces = to_traces(ramp, np.array([0]), None, 10, 10)
    np.testing.assert_array_equal(traces[:, 0], np.arange(10, 50))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("columns", [RUN, SHUFFLED], ids=["run", "shuffled"])
def test_values_that_are_not_finite_are_named_with_their_place(value, columns):
    samples = samples_of("<f4")
    samples[17, 3] = value
    samples[30, 2] = value
    with pytest.raises(InputError, match=rf"holds {value} at sample 1017, channel 3"):
        to_traces(samples, columns, None, 5, 5, first_sample=1000)


def test_columns_without_a_contact_may_hold_anything():
    samples = samples_of("<f4")
    samples[:, 0] = np.nan
    assert np.isfinite(to_traces(samples, RUN, None)).all()


@pytest.mark.parametrize("columns_out", [np.arange(4), np.array([6, 1, 0, 3])], ids=["run", "shuffled"])
def test_int16_is_rounded_half_to_even_and_clipped_as_the_oracle_does(columns_out):
    values = [[0.5, 1.5, -0.5, -1.5], [2.5, 32767.4, 32767.5, -32768.5], [-32768.51, 1e9, -1e9, 0.49]]
    out = np.full((3, 7), 77, "<i2")
    clipped = from_traces(np.array(values, np.float32), columns_out, None, out)
    expected = [[oracle.to_int16(float(np.float32(value))) for value in row] for row in values]
    np.testing.assert_array_equal(out[:, columns_out], [[value for value, _ in row] for row in expected])
    assert clipped == sum(was_clipped for row in expected for _, was_clipped in row) == 4
    untouched = np.setdiff1d(np.arange(7), columns_out)
    assert (out[:, untouched] == 77).all()


def test_nan_counts_as_clipped():
    out = np.zeros((1, 2), "<i2")
    assert from_traces(np.array([[np.nan, 1.0]], np.float32), np.arange(2), None, out) == 1
    np.testing.assert_array_equal(out, [[-32768, 1]])


def test_float32_goes_back_to_file_units_and_is_not_clipped():
    traces, out = np.array([[1e6, -3.0]], np.float32), np.zeros((1, 3), "<f4")
    assert from_traces(traces, np.array([2, 0]), np.array([2.0, 0.5]), out) == 0
    np.testing.assert_array_equal(out, [[-6.0, 0.0, 5e5]])


@settings(deadline=None, max_examples=60)
@given(st.integers(-32768, 32767), st.floats(1e-4, 1e4))
def test_every_int16_survives_every_gain(value, gain):
    samples, out = np.array([[value]], "<i2"), np.zeros((1, 1), "<i2")
    traces = to_traces(samples, np.array([0]), np.array([gain]))
    assert from_traces(traces, np.array([0]), np.array([gain]), out) == 0
    assert out[0, 0] == value


def test_no_contacts_write_nothing():
    out = np.full((4, 2), 9, "<i2")
    assert from_traces(np.zeros((4, 0), np.float32), np.zeros(0, np.int64), None, out) == 0
    assert (out == 9).all()
