"""Delays by a fraction of a sample in float64: exact ones of sums of sines, and of whole traces by their spectrum."""

import numpy as np


def sines(time_samples, waves):
    """Sum of amplitude * sin(2 pi frequency * t + phase) at any time; waves: (amplitude, cycles per sample, phase)."""
    return sum(amplitude * np.sin(2 * np.pi * cycles * time_samples + phase) for amplitude, cycles, phase in waves)


def delay_whole(traces, shifts):
    """Each column delayed by its shift, as if the trace went on with its own mirror image at either end."""
    traces = np.asarray(traces, np.float64)
    out = np.empty_like(traces)
    for column, shift in enumerate(shifts):
        trace = traces[:, column]
        mirrored = np.concatenate([trace, trace[::-1]])
        spectrum = np.fft.rfft(mirrored)
        cycles = np.arange(len(spectrum)) / len(mirrored)
        delayed = np.fft.irfft(spectrum * np.exp(-2j * np.pi * cycles * shift), len(mirrored))
        out[:, column] = delayed[: len(trace)]
    return out


def delay_by_the_book(trace, shift, reach=200):
    """One trace by the interpolation formula, with a slow taper so that the sum ends."""
    out = np.zeros(len(trace))
    for n in range(len(trace)):
        for m in range(max(0, n - reach), min(len(trace), n + reach + 1)):
            distance = n - m - shift
            out[n] += trace[m] * np.sinc(distance) * np.cos(np.pi * distance / (2 * (reach + 1))) ** 2
    return out
