"""Band-pass of a whole file at once, in float64, by scipy."""

import numpy as np
from scipy import signal


def filter_whole(traces, sampling_frequency_hz, freq_min_hz=300.0, freq_max_hz=6000.0, order=5):
    sections = signal.butter(
        order, (freq_min_hz, freq_max_hz), btype="bandpass", fs=sampling_frequency_hz, output="sos"
    )
    return signal.sosfiltfilt(sections, np.asarray(traces, np.float64), axis=0)


def filter_by_the_book(trace, b, a):
    """One channel forward only, from rest, by the difference equation."""
    out = np.zeros(len(trace))
    for n in range(len(trace)):
        for k in range(min(n + 1, len(b))):
            out[n] += b[k] * trace[n - k]
        for k in range(1, min(n + 1, len(a))):
            out[n] -= a[k] * out[n - k]
    return out
