"""Kilosort 2.5's drift estimate on a dense image, rolled again for every shift."""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d


def image(time_s, depth_um, amplitude, temporal_edges_s, spatial_edges_um, num_amp_bins):
    """(T, D, A) log2(1 + number of peaks); amplitude bins split the range of the logarithms evenly."""
    logs = np.log10(np.abs(amplitude))
    scaled = (logs - logs.min()) / (logs.max() - logs.min())
    edges = (temporal_edges_s, spatial_edges_um, np.linspace(0, 1, num_amp_bins + 1))
    return np.log2(1 + np.histogramdd(np.column_stack([time_s, depth_um, scaled]), bins=edges)[0])


def shifts(counts, windows, max_global, n_iterations, max_block, smoothing_sigma, kriging):
    """(T, W) shifts in spatial bins that line up the images `counts` (T, D, A); kriging: sigma, p, d."""
    n_bins = len(counts)
    moved = counts - counts.mean(axis=1, keepdims=True)
    template = moved[n_bins // 2 - 1]
    total = np.zeros(n_bins)
    for _ in range(n_iterations - 1):
        for t in range(n_bins):
            tries = range(-max_global, max_global + 1)
            best = max(tries, key=lambda shift: (np.roll(moved[t], shift, axis=0) * template).sum())
            moved[t] = np.roll(moved[t], best, axis=0)
            total[t] += best
        template = moved.mean(axis=0)
    covariance = np.zeros((n_bins, 2 * max_block + 1, len(windows)))
    for w, window in enumerate(windows):
        inside = np.flatnonzero(window > 1e-5)
        part = slice(inside[0], inside[-1] + 1)
        for t in range(n_bins):
            seen = moved[t, part] * window[part, None]
            for s in range(2 * max_block + 1):
                covariance[t, s, w] = (
                    np.roll(seen, s - max_block, axis=0) * template[part] * window[part, None]
                ).mean()
    for s in range(2 * max_block + 1):
        covariance[:, s] = gaussian_filter(covariance[:, s], smoothing_sigma)
    for w in range(len(windows)):
        covariance[:, :, w] = gaussian_filter1d(covariance[:, :, w], smoothing_sigma, axis=1)
    sigma, p, d = kriging
    fine = np.linspace(-max_block, max_block, 20 * max_block + 1)
    distance = np.abs(np.arange(-max_block, max_block + 1)[:, None] - fine)
    upsampled = np.einsum("tsw,sf->tfw", covariance, np.exp(-((distance / sigma) ** p) / d))
    return total[:, None] + fine[upsampled.argmax(axis=1)]
