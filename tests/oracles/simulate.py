"""Sums of spikes, one contact and one sample at a time, and errors of motions, one unit and one moment at a time."""

import math

import numpy as np


def add_spikes(traces, first, spikes, positions_um, amplitude_uv, decay_um, waveforms, before, contacts_um):
    """`spikes`: (sample, unit, scale, displacement_um) each."""
    traces = np.array(traces, np.float64)
    for sample, unit, scale, displacement_um in spikes:
        x, y, z = positions_um[unit]
        for channel, (contact_x, contact_y) in enumerate(contacts_um):
            distance = math.sqrt((x - contact_x) ** 2 + (y + displacement_um - contact_y) ** 2 + z**2)
            if distance >= 10 * decay_um[unit]:
                continue
            height = scale * amplitude_uv[unit] * math.exp((z - distance) / decay_um[unit])
            for i, value in enumerate(waveforms[unit]):
                row = sample - before + i - first
                if 0 <= row < len(traces):
                    traces[row, channel] += height * value
    return traces


def add_dipoles(traces, first, spikes, positions_um, amplitude_uv, sources_um, currents, before, contacts_um):
    """`spikes`: (sample, unit, scale, displacement_um) each; a compartment is a ball of 10 um."""
    traces = np.array(traces, np.float64)
    for sample, unit, scale, displacement_um in spikes:
        for (x, y, z), current in zip(positions_um[unit] + sources_um[unit], currents[unit], strict=True):
            for channel, (contact_x, contact_y) in enumerate(contacts_um):
                squared = (x - contact_x) ** 2 + (y + displacement_um - contact_y) ** 2 + z**2
                height = scale * amplitude_uv[unit] / math.sqrt(squared + 10**2)
                for i, value in enumerate(current):
                    row = sample - before + i - first
                    if 0 <= row < len(traces):
                        traces[row, channel] += height * value
    return traces


def delayed(waveform, samples):
    """Later by a whole number of samples, 0 before."""
    return np.array([waveform[i - samples] if i >= samples else 0.0 for i in range(len(waveform))])


def bimodal_um(share):
    """Where a unit is, as a share of the depth, by its place among all units: few, many, few, many, few."""
    for units, depths in (
        ((0.0, 0.05), (0.0, 0.1)),
        ((0.05, 0.475), (0.1, 0.35)),
        ((0.475, 0.525), (0.35, 0.65)),
        ((0.525, 0.95), (0.65, 0.9)),
        ((0.95, 1.0), (0.9, 1.0)),
    ):
        if share <= units[1]:
            return depths[0] + (share - units[0]) / (units[1] - units[0]) * (depths[1] - depths[0])
    raise ValueError(share)


def mixed(noise, scale, sources, profiles, offsets):
    """(S, C): noise times scale, plus offsets, plus each of the sources (S, K) times its profile (K, C)."""
    out = np.zeros(noise.shape)
    for t, c in np.ndindex(noise.shape):
        out[t, c] = noise[t, c] * scale + offsets[c] + sum(sources[t, k] * profiles[k, c] for k in range(len(profiles)))
    return out


def motion_error(estimated, true, times_s, depths_um):
    """`estimated` and `true` give the displacement at a time and depth. Absolute errors, sorted."""
    differences = [estimated(t, y) - true(t, y) for t in times_s for y in depths_um]
    middle = float(np.median(differences))
    return sorted(abs(difference - middle) for difference in differences)
