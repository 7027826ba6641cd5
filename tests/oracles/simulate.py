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
