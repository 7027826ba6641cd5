"""DREDge for the local field potential, slow and dense: every pair by loops, one linear system for each chunk.

After Windolf et al. 2025 and `dredge_lfp` of SpikeInterface 0.105.3. Spatial windows are given, not made here.
"""

import numpy as np

from oracles.dredge_ap import correlate


def estimate(
    values,
    step_um,
    windows,
    max_lag,
    chunk_bins,
    gaussian=True,
    horizon_bins=None,
    mincorr=0.8,
    percentile=None,
    neighbours=20,
    soft=False,
    centered=True,
    normalized=True,
    lambda_t=1.0,
    lambda_s=1.0,
    eps=1e-3,
):
    """(T, W) displacement in µm. values: (T, D). windows: (W, D)."""
    n_bins, found = len(values), np.zeros((len(values), len(windows)))
    for start in range(0, n_bins, chunk_bins):
        here = range(start, min(start + chunk_bins, n_bins))
        before = range(max(0, start - chunk_bins), start)
        best = {}
        for w, window in enumerate(windows):
            flat = np.ptp(window) == 0
            sides = [(np.sqrt(window),) * 2] if gaussian or flat else _sides(window, max_lag)
            for j in here:
                for i in [*before, *here]:
                    if i > j:
                        continue
                    best[w, i, j] = [
                        _best(correlate(values[i], values[j], side, max_lag, centered, normalized), max_lag)
                        for side in sides
                    ]
        least = mincorr
        near = [c[0][1] for (_, i, j), c in best.items() if i in here and 0 < j - i < neighbours]
        if percentile is not None and near:
            least = np.percentile(near, percentile)
        asked = []
        for (w, i, j), sides in best.items():
            for lag, correlation in sides:
                if correlation < least or correlation <= 0 or (horizon_bins is not None and j - i > horizon_bins):
                    continue
                strength = (correlation**2 if soft else 1.0) * 2 / len(sides)
                asked.append((w, i, j, -lag * step_um, strength))
        found[start : here[-1] + 1] = _solve(asked, found, here, len(windows), lambda_t, lambda_s, eps)
    return found


def _sides(window, max_lag):
    """What is seen through a window with an end, of either bin: the other one is looked at as far as lags reach."""
    near = np.array([window[max(0, d - max_lag) : d + max_lag + 1].max() > 0 for d in range(len(window))]) * 1.0
    return [(window, near), (near, window)]


def _best(correlations, max_lag):
    best = int(np.argmax(correlations))
    return best - max_lag, correlations[best]


def _solve(asked, known, here, n_windows, lambda_t, lambda_s, eps):
    """(J, W): p[i] - p[j] is to be what was asked for; p is known before the chunk; priors as in `dredge_ap`."""
    n = len(here)
    matrix, targets = np.zeros((n_windows * n,) * 2), np.zeros(n_windows * n)

    def ask(strength, terms, target=0.0):
        for index, factor in terms:
            targets[index] += strength * factor * target
            for other, other_factor in terms:
                matrix[index, other] += strength * factor * other_factor

    def at(w, t):
        return w * n + t - here[0]

    observed = np.zeros((n_windows, n), bool)
    for w, i, j, displacement, strength in asked:
        if i in here:
            observed[w, i - here[0]] = observed[w, j - here[0]] = True
            if i != j:
                ask(strength, [(at(w, i), 1), (at(w, j), -1)], displacement)
        else:
            ask(strength, [(at(w, j), 1)], known[i, w] - displacement)
    coupled = n_windows > 1 and lambda_s > 0
    for w in range(n_windows):
        for t in here:
            if observed[w, t - here[0]] or not observed[w].any():
                ask(eps * (2 if coupled else 1), [(at(w, t), 1)])
            if t + 1 in here:
                step = [(at(w, t + 1), 1), (at(w, t), -1)]
                ask(lambda_t / 2, step)
                if coupled and w + 1 < n_windows:
                    ask(lambda_s / 4, [*step, (at(w + 1, t + 1), -1), (at(w + 1, t), 1)])
    return np.linalg.lstsq(matrix, targets, rcond=None)[0].reshape(n_windows, n).T
