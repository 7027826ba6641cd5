"""A local field potential that moves, and one without random numbers, as plain arrays."""

import numpy as np

BIN_S = 0.004


def truth_um(time_s, depth_um, span_um):
    """Displacement at a time and depth: a wave and a step, the top of the shank moves less than the tip."""
    return 25 * np.sin(2 * np.pi * time_s / 4) * (1 - 0.4 * depth_um / span_um) + 10 * (time_s > 3)


def potential_uv(time_s, depth_um, span_um, seed=0, noise_uv=1.0, still=False):
    """(T, D): many small sources along a shank, each of which mixes three slow signals in another way."""
    rng = np.random.default_rng(seed)
    count = int(span_um // 15)
    home, width = rng.uniform(-150, span_um + 150, count), rng.uniform(25, 80, count)
    mixing = rng.normal(0, 250, (3, count))
    hz, phase, size = rng.uniform(3, 30, (3, 6)), rng.uniform(0, 2 * np.pi, (3, 6)), rng.uniform(0.3, 1, (3, 6))
    signals = (size[..., None] * np.sin(2 * np.pi * hz[..., None] * time_s + phase[..., None])).sum(axis=1)
    values = rng.normal(0, noise_uv, (len(time_s), len(depth_um)))
    for source in range(count):
        moved = 0.0 if still else truth_um(time_s, home[source], span_um)[:, None]
        shape = np.exp(-(((depth_um - home[source] - moved) / width[source]) ** 2) / 2)
        values += (mixing[:, source] * signals.T).sum(axis=1)[:, None] * shape
    return values


def made_up():
    """(300, 40) values and depths: 60 sources that move up and down and jump, without random numbers."""
    time_s, depth_um = (np.arange(300) + 0.5) * BIN_S, np.arange(40) * 20.0
    moved = 15 * np.sin(2 * np.pi * time_s / 0.9) + 12 * (time_s > 0.7)
    values = np.zeros((300, 40))
    for k in range(60):
        home, width = (k * 0.6180339887498949 % 1) * 900 - 50, 25 + 50 * (k * 0.7548776662466927 % 1)
        course = sum(
            np.cos(7 * k * (i + 1) ** 2) * np.sin(2 * np.pi * (0.7 + 1.3 * i) * time_s + k * i) for i in range(3)
        )
        here = home + moved * (1 - home / 2000)
        values += course[:, None] * np.exp(-((depth_um - here[:, None]) ** 2) / (2 * width**2))
    return values.astype(np.float32), depth_um
