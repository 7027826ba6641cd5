"""DREDge, slow and dense: every pair of temporal bins by loops, one linear system for all bins and windows.

After Windolf et al. 2025 and `dredge_ap` of SpikeInterface 0.105.3, but Gaussian windows weigh both bins of a pair
with their root. Spatial windows are given, not made here.
"""

import numpy as np


def estimate(
    time_s,
    depth_um,
    amplitude,
    edges_s,
    edges_um,
    windows,
    max_lag,
    win_shape="gaussian",
    time_horizon_s=1000.0,
    mincorr=0.1,
    threshold_low=0.2,
    threshold_high=0.2,
    depth_smooth_um=1.0,
    time_smooth_s=1.0,
    lambda_t=1.0,
    lambda_s=1.0,
    eps=1e-3,
):
    """(T, W) displacement in µm."""
    image = raster(time_s, depth_um, amplitude, edges_s, edges_um, depth_smooth_um, time_smooth_s)
    bin_s, bin_um = edges_s[1] - edges_s[0], edges_um[1] - edges_um[0]
    shape = (len(windows), len(image), len(image))
    displacement, weight = np.zeros(shape), np.zeros(shape)
    for w, window in enumerate(windows):
        on_both = win_shape == "gaussian"
        weights = (np.sqrt(window), np.sqrt(window)) if on_both else (window, np.ones_like(window))
        heat = [float((window * row).sum()) for row in image]
        for i in range(len(image)):
            for j in range(len(image)):
                if abs(i - j) * bin_s > time_horizon_s:
                    continue
                correlations = correlate(image[i], image[j], weights, max_lag)
                best = int(np.argmax(correlations))
                displacement[w, i, j] = (max_lag - best) * bin_um
                weight[w, i, j] = pair_weight(
                    correlations[best], heat[i], heat[j], mincorr, threshold_low, threshold_high
                )
    return solve(displacement, weight, lambda_t, lambda_s, eps)


def raster(time_s, depth_um, amplitude, edges_s, edges_um, depth_smooth_um, time_smooth_s):
    """(T, D) summed amplitudes, smoothed along depth, then over time."""
    image = np.histogram2d(time_s, depth_um, (edges_s, edges_um), weights=np.abs(amplitude))[0]
    image = smooth(image, depth_smooth_um / (edges_um[1] - edges_um[0]))
    return smooth(image.T, time_smooth_s / (edges_s[1] - edges_s[0])).T


def smooth(rows, sigma):
    """Every row with a Gaussian cut at 4 sigma; nothing beyond the ends."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    return np.array([np.convolve(np.pad(row, radius), kernel, mode="valid") for row in rows])


def correlate(template, other, weights, max_lag, centered=True, normalized=True):
    """Correlation at each lag from -max_lag to max_lag: the template's bin k against the other's bin k + lag.

    weights: one along depth for the template and one for the other; they multiply.
    """
    of_template, of_other = weights
    result = np.zeros(2 * max_lag + 1)
    for m, lag in enumerate(range(-max_lag, max_lag + 1)):
        ks = [k for k in range(len(template)) if 0 <= k + lag < len(template)]
        ks = [k for k in ks if of_template[k] * of_other[k + lag] > 0]
        if not ks:
            continue
        w = np.array([of_template[k] * of_other[k + lag] for k in ks])
        w = w / w.sum()
        a = np.array([template[k] for k in ks])
        b = np.array([other[k + lag] for k in ks])
        if centered:
            a, b = a - (w * a).sum(), b - (w * b).sum()
        result[m] = (w * a * b).sum()
        if normalized:
            deviations = np.sqrt((w * a**2).sum() * (w * b**2).sum())
            result[m] = result[m] / deviations if deviations > 1e-9 else 0.0
    return result


def pair_weight(correlation, heat_i, heat_j, mincorr, threshold_low, threshold_high):
    if correlation < mincorr or correlation <= 0:
        return 0.0
    doubt = 1 / correlation**2
    for heat in (heat_i, heat_j):
        if heat < threshold_low or heat == 0:
            return 0.0
        if heat <= threshold_high:
            doubt += 1 / heat
    return 1 / doubt


def solve(displacement, weight, lambda_t, lambda_s, eps):
    """(T, W): minimizes, over p (W, T), the sum of

    - 1/2 weight[w, i, j] (p[w, i] - p[w, j] - displacement[w, i, j])^2 over all ordered pairs,
    - lambda_t / 4 (p[w, t + 1] - p[w, t])^2,
    - lambda_s / 8 of the squared difference of those steps between neighbouring windows,
    - eps / 2 p^2 for every bin of a window that has any weight (all bins if none has), once for each prior in use.
    """
    n_windows, n_bins = weight.shape[:2]
    matrix, targets = np.zeros((n_windows * n_bins,) * 2), np.zeros(n_windows * n_bins)

    def ask(strength, terms, target=0.0):
        for index, factor in terms:
            targets[index] += strength * factor * target
            for other, other_factor in terms:
                matrix[index, other] += strength * factor * other_factor

    def at(w, t):
        return w * n_bins + t

    coupled = n_windows > 1 and lambda_s > 0
    for w in range(n_windows):
        observed = (weight[w] > 0).any(axis=1)
        for t in range(n_bins):
            if observed[t] or not observed.any():
                ask(eps * (2 if coupled else 1), [(at(w, t), 1)])
            for other in range(n_bins):
                if other != t:
                    ask(weight[w, t, other], [(at(w, t), 1), (at(w, other), -1)], displacement[w, t, other])
            if t + 1 < n_bins:
                step = [(at(w, t + 1), 1), (at(w, t), -1)]
                ask(lambda_t / 2, step)
                if coupled and w + 1 < n_windows:
                    ask(lambda_s / 4, [*step, (at(w + 1, t + 1), -1), (at(w + 1, t), 1)])
    solution = np.linalg.lstsq(matrix, targets, rcond=None)[0]
    return solution.reshape(n_windows, n_bins).T
