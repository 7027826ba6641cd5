"""Masks, by asking every sample in turn and keeping sets of samples."""

import math
from itertools import pairwise


def saturated(samples, columns, noise, share, ends):
    """Rows with at least a share of the contacts beyond 98 % of the range."""
    asked = [column for column, level in zip(columns, noise, strict=True) if level > 0]
    middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    found = set()
    for row in range(len(samples)):
        far = [abs(float(samples[row, column]) - middle) > 0.98 * half for column in asked]
        if asked and sum(far) >= share * len(asked) - 1e-9:
            found.add(row)
    return found


def straight(samples, columns, noise_counts, share):
    """Rows of whole numbers that lie on a line with the row before and the row after, on a share of the contacts."""
    asked = {column: level for column, level in zip(columns, noise_counts, strict=True) if level >= 0.5}
    found = set()
    for row in range(1, len(samples) - 1):
        count = 0
        for column, level in asked.items():
            before, here, after = (int(samples[row + k, column]) for k in (-1, 0, 1))
            count += abs(before - 2 * here + after) <= (1 if level >= 2 else 0)
        if asked and count >= share * len(asked) - 1e-9:
            found.add(row)
    return found


def artifacts(traces, noise, of_spikes, share, threshold):
    """Rows with more contacts beyond a multiple of their noise than `of_spikes` and a share of the others.

    Values below a quarter of the row's largest don't count.
    """
    asked = [contact for contact, level in enumerate(noise) if level > 0]
    found = set()
    for row in range(len(traces)):
        sizes = {contact: abs(float(traces[row, contact])) for contact in asked}
        far = [c for c in asked if sizes[c] > threshold * noise[c] and sizes[c] > max(sizes.values()) / 4]
        if len(asked) > of_spikes and len(far) > of_spikes + share * (len(asked) - of_spikes) + 1e-9:
            found.add(row)
    return found


def stretches(samples):
    """(start, stop) of each stretch of samples that follow each other."""
    starts = sorted(n for n in samples if n - 1 not in samples)
    stops = sorted(n + 1 for n in samples if n + 1 not in samples)
    return list(zip(starts, stops, strict=True))


def spans(flagged, num_samples, join, padding):
    """Spans of flagged samples: stretches that are close together joined, with a padding at either end."""
    flagged = set(flagged)
    for (_, stop), (start, _) in pairwise(stretches(flagged)):
        if start - stop <= join:
            flagged |= set(range(stop, start))
    padded = {n + k for n in flagged for k in range(-padding, padding + 1)}
    return stretches(padded & set(range(num_samples)))


def gaps(middles, num_samples, breaks, least):
    """Samples of lines of at least `least` samples; `middles` lie on a line with the samples before and after.

    The files between breaks are looked at one by one.
    """
    found = set()
    edges = [0, *breaks, num_samples]
    for begin, end in pairwise(edges):
        for start, stop in stretches({n for n in middles if begin < n < end - 1}):
            if stop + 1 - (start - 1) >= least:
                found |= set(range(start - 1, stop + 1))
    return found


def samples_of(starts, stops):
    return {n for start, stop in zip(starts, stops, strict=True) for n in range(start, stop)}


def excluded(spans_s, rate_hz, num_samples):
    """Samples that last from n to n + 1 over the rate and touch one of the spans, by more than a thousandth."""
    found = set()
    for start_s, stop_s in spans_s:
        for n in range(num_samples):
            overlap = min(n + 1, stop_s * rate_hz) - max(n, start_s * rate_hz)
            if overlap > 1e-3 or (overlap > 0 and math.isclose(overlap, (stop_s - start_s) * rate_hz)):
                found.add(n)
    return found
