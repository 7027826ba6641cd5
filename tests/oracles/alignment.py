"""The alignment of peaks, pair by pair."""

import math

BIN_UM, BOX, CHANCE_UM, MOMENT_S, OCTAVES = 2.5, 4, 50.0, 1.0, 6


def alignment(time_s, depth_um, amplitude, low_um, high_um):
    """As driftcli/assess/alignment.py says, from every pair of peaks."""
    n_bins = math.ceil((high_um - low_um) / BIN_UM) + BOX
    largest = percentile_99([abs(a) for a in amplitude])
    peaks = [
        (int(t / MOMENT_S), int((d - low_um) / BIN_UM), octave(abs(a), largest))
        for t, d, a in zip(time_s, depth_um, amplitude, strict=True)
        if low_um <= d < high_um
    ]
    sums = {"same moment": 0.0, "different times": 0.0}
    counts = {"same moment": 0, "different times": 0}
    chance = 0.0
    for i, (moment, bin_, level) in enumerate(peaks):
        for j, (other_moment, other_bin, other_level) in enumerate(peaks):
            alike = level == other_level
            if alike:
                chance += smoothed_meeting(bin_, other_bin, n_bins)
            if i != j:
                kind = "same moment" if moment == other_moment else "different times"
                counts[kind] += 1
                sums[kind] += max(0, BOX - abs(bin_ - other_bin)) if alike else 0
    chance /= len(peaks) ** 2
    same, different = (sums[kind] / counts[kind] for kind in ("same moment", "different times"))
    return (different - chance) / (same - chance)


def octave(size, largest):
    return min(max(int(math.log2(largest / size)), 0), OCTAVES - 1)


def percentile_99(values):
    values = sorted(values)
    place = 0.99 * (len(values) - 1)
    low = int(place)
    return values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def smoothed_meeting(bin_, other_bin, n_bins):
    """A peak fills `BOX` bins from its own on; the other one's are smeared out by a Gaussian, of 4 sigma at most."""
    sigma = CHANCE_UM / BIN_UM
    reach = int(4 * sigma + 0.5)
    total = sum(math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1))
    found = 0.0
    for a in range(bin_, min(bin_ + BOX, n_bins)):
        for b in range(other_bin, min(other_bin + BOX, n_bins)):
            if abs(a - b) <= reach:
                found += math.exp(-0.5 * ((a - b) / sigma) ** 2) / total
    return found
