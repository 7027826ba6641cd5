"""Pairs of temporal bins compared one displacement at a time, and reconciled by a dense least-squares solver."""

import math

import numpy as np


def correlation_at(moved, still, window, shift, normalized=True, centered=True):
    """Window-weighted correlation of still[l] with moved[l + shift]: where that lies outside, nothing counts."""
    length = len(still)
    pairs = [(window[k], still[k], moved[k + shift]) for k in range(length) if 0 <= k + shift < length]
    w, s, m = (np.array(column) for column in zip(*pairs, strict=True))
    total = w.sum()
    mean_s, mean_m = ((w * s).sum() / total, (w * m).sum() / total) if centered else (0.0, 0.0)
    covariance = (w * s * m).sum() / total - mean_s * mean_m
    if not normalized:
        return covariance
    variance_s = (w * s * s).sum() / total - mean_s**2
    variance_m = (w * m * m).sum() / total - mean_m**2
    if variance_s < 1e-9 or variance_m < 1e-9:
        return 0.0
    return covariance / math.sqrt(variance_s * variance_m)


def best_pairs(rows, window, reach, normalized=True, centered=True):
    """(T, T) best displacement in bins and its correlation; both 0 where nothing correlates."""
    count = len(rows)
    displacement, correlation = np.zeros((count, count)), np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            for shift in range(-reach, reach + 1):
                value = correlation_at(rows[i], rows[j], window, shift, normalized, centered)
                if value > correlation[i, j]:
                    displacement[i, j], correlation[i, j] = shift, value
    return displacement, correlation


def reconcile(displacement, weights, temporal_prior=True, spatial_prior=False, sigma=2.0, n_iterations=1):
    """(W, T) least-squares displacements, of mean 0, from (W, T, T) displacements and weights of all pairs.

    Priors say that neighbours in time and in depth are equal; those whose residual is beyond `sigma` standard
    deviations of the mean residual are left out the next time.
    """
    n_windows, n_bins, _ = displacement.shape
    rows, targets, is_prior = [], [], []

    def ask(weight, plus, minus, target, prior):
        row = np.zeros((n_windows, n_bins))
        row[plus] += weight
        row[minus] -= weight
        rows.append(row.ravel())
        targets.append(weight * target)
        is_prior.append(prior)

    for w in range(n_windows):
        for i in range(n_bins):
            for j in range(n_bins):
                if weights[w, i, j] > 0:
                    ask(weights[w, i, j], (w, i), (w, j), displacement[w, i, j], False)
        for i in range(n_bins - 1):
            if temporal_prior:
                ask(1.0, (w, i + 1), (w, i), 0.0, True)
    if spatial_prior:
        for w in range(n_windows - 1):
            for i in range(n_bins):
                ask(1.0, (w, i), (w + 1, i), 0.0, True)
    rows, targets, is_prior = np.array(rows), np.array(targets), np.array(is_prior)
    kept = np.ones(len(rows), dtype=bool)
    for _ in range(n_iterations):
        solution = np.linalg.lstsq(rows[kept], targets[kept], rcond=None)[0]
        residual = rows @ solution - targets
        kept = ~is_prior | (np.abs(residual - residual.mean()) <= sigma * residual.std())
    return (solution - solution.mean()).reshape(n_windows, n_bins)


def reconcile_robust(displacement, weights, sigma, n_iterations):
    """(T,) displacements of mean 0 from (T, T) weighted pairs, each time without those that fitted badly before."""
    i, j = np.nonzero(weights > 0)
    rows = np.zeros((len(i), len(weights)))
    rows[np.arange(len(i)), i] += 1
    rows[np.arange(len(i)), j] -= 1
    targets, weight = displacement[i, j], weights[i, j]
    kept = np.ones(len(i), dtype=bool)
    for _ in range(n_iterations):
        solution = np.linalg.lstsq(rows[kept] * weight[kept, None], targets[kept] * weight[kept], rcond=None)[0]
        residual = rows @ solution - targets
        kept = np.abs(residual - residual.mean()) <= sigma * residual.std()
    return solution - solution.mean()
