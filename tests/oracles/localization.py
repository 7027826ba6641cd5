"""Positions of peaks, by the definitions."""

import numpy as np
from scipy.optimize import minimize


def neighbours(positions, shanks, channel, radius):
    distance = np.linalg.norm(positions - positions[channel], axis=1)
    return np.flatnonzero((distance <= radius) & (shanks == shanks[channel]))


def amplitudes(waveforms, peak, feature):
    """One number per channel of waveforms (samples, channels) with the peak at sample `peak`."""
    waveforms = waveforms.astype(float)
    return {
        "ptp": np.ptp(waveforms, axis=0),
        "mean": waveforms.mean(axis=0),
        "energy": np.sqrt((waveforms**2).sum(axis=0)),
        "peak_voltage": waveforms[peak],
    }[feature]


def center_of_mass(waveforms, peak, feature, positions):
    weights = amplitudes(waveforms, peak, feature)
    return (weights[:, None] * positions).sum(axis=0) / weights.sum()


def monopolar_objective(at, w, positions):
    q = 1 / np.sqrt(((positions - at[:2]) ** 2).sum(axis=1) + at[2] ** 2)
    alpha = (q * w).sum() / (q * q).sum()
    return ((w - alpha * q) ** 2).mean() - np.log1p(10 * at[2]) / 10000, alpha


def monopolar_triangulation(w, positions, max_distance):
    """x, y, z, alpha of the minimum found by a general optimizer with tight tolerances."""
    scaled = w / w.max()
    x, y = (w[:, None] * positions).sum(axis=0) / w.sum()
    bounds = [(x - max_distance, x + max_distance), (y - max_distance, y + max_distance), (1, 10 * max_distance)]

    def value(at):
        return 1e4 * monopolar_objective(at, scaled, positions)[0]

    options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 10000, "maxfev": 10000}
    rough = minimize(value, (x, y, 20), bounds=bounds).x
    best = minimize(value, rough, bounds=bounds, method="Nelder-Mead", options=options).x
    return np.array([*best, monopolar_objective(best, scaled, positions)[1] * w.max()])


def decreasing(w, channel, near, positions):
    """Amplitudes `w` of the contacts `near`, each lowered to the largest of its parents, ring by ring outwards.

    Rings are contacts at one distance from the peak's. From the second on, a contact's parents are contacts in rings
    further inside that are no further from it than its third nearest distance to any contact.
    """
    w = w.copy()
    away = np.round(np.linalg.norm(positions[near] - positions[channel], axis=1), 6)
    for ring in sorted(set(away))[2:]:
        for i in np.flatnonzero(away == ring):
            between = np.round(np.linalg.norm(positions - positions[near[i]], axis=1), 6)
            reach = sorted(set(between))[:4][-1]
            parents = [j for j in range(len(near)) if away[j] < ring and between[near[j]] <= reach]
            if parents:
                w[i] = min(w[i], max(w[j] for j in parents))
    return w


def grid_weights(positions, templates, mode, names, sigma_3d=2.5, threshold=None):
    """(names, channels, templates) weights of norm 1 over the channels."""
    distance = np.linalg.norm(positions[:, None] - templates[None], axis=2)
    if mode == "gaussian_2d":
        weights = np.stack([np.exp(-(distance**2) / (2 * s**2)) for s in names])
    else:
        weights = np.stack([np.exp(-np.sqrt(distance**2 + z**2) / sigma_3d) for z in names])
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights[weights < (0.5 / np.sqrt(len(positions)) if threshold is None else threshold)] = 0
    norm = np.linalg.norm(weights, axis=1, keepdims=True)
    return weights / np.where(norm > 0, norm, 1)


def grid_templates(positions, upsampling, margin):
    low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin + upsampling / 10
    return np.array(
        [(x, y) for y in np.arange(low[1], high[1], upsampling) for x in np.arange(low[0], high[0], upsampling)]
    )


def grid_convolution(waveforms, prototype, weights, names, templates, channel, positions, radius, percentile):
    """x, y, z of one peak; waveforms (samples, channels), all channels of its shank; `channel` counts within it."""
    near = np.linalg.norm(templates - positions[channel], axis=1) <= radius
    products = prototype @ waveforms.astype(float)
    scores = np.stack([products @ w[:, near] for w in weights]).astype(np.float32)
    least = np.percentile(scores[scores >= 0], 100 - percentile)
    scores = np.where(scores >= max(least, 0), scores, 0).astype(float)
    points = [(*xy, name) for name in names for xy in templates[near]]
    return (scores.ravel()[:, None] * points).sum(axis=0) / scores.sum()
