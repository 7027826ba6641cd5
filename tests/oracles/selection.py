"""Choice of peaks, by drawing one after the other."""

import numpy as np


def cell_counts(cells, n_peaks):
    """How many peaks each cell gives if cells give one peak in turn: list of (least, most) per cell, in order."""
    sizes = [int(np.sum(cells == cell)) for cell in np.unique(cells)]
    full_turns = 0
    while sum(min(size, full_turns + 1) for size in sizes) <= n_peaks and full_turns < max(sizes):
        full_turns += 1
    return [(min(size, full_turns), min(size, full_turns + 1)) for size in sizes]


def keep_probability(size, n_peaks, n_trials, seed):
    """(N,) how often each peak is kept when rounds of keeping each with the probability of its rank are played out."""
    order = np.argsort(np.argsort(size))
    rank = order / (len(size) - 1)
    generator = np.random.default_rng(seed)
    kept = np.zeros(len(size))
    for _ in range(n_trials):
        chosen = []
        while len(chosen) < n_peaks:
            left = [i for i in range(len(size)) if i not in chosen]
            chosen += [i for i in left if generator.random() < rank[i]]
        kept[generator.permutation(chosen)[:n_peaks]] += 1
    return kept / n_trials
