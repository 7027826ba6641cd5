"""The penalized likelihood, slow and dense: every peak with every cell, every unknown with every other.

Four parts, from the bottom up: what the peaks say of a displacement, the step that they and the prior ask for, the
coarse motion of blocks, and the whole estimate. Windows are evenly spaced depths; peaks are (time_s, depth_um,
amplitude); a displacement is (T, W).
"""

import itertools
import math

import numpy as np

from oracles import dredge_ap

RIDGE = 1e-6


# --- what the peaks say -----------------------------------------------------------------------------------------------


def cells(amplitude, span_um, farthest_um, depth_sigma_um, amplitude_sigma):
    """Centres of the cells along log amplitude and along depth."""
    sizes = np.abs(amplitude)[np.abs(amplitude) > 0]
    low, high = (math.log(np.percentile(sizes, share)) for share in (0.1, 99.9)) if len(sizes) else (0.0, 0.0)
    high = min(high, low + 4.6)  # larger ones are not told apart
    step_log, step_um = amplitude_sigma / 2.4, depth_sigma_um / 2
    beyond_um = farthest_um + 8 * depth_sigma_um
    n_logs = int((high - low + 4 * amplitude_sigma) / step_log) + 2
    n_depths = int((span_um[1] - span_um[0] + 2 * beyond_um) / step_um) + 2
    logs = low - 2 * amplitude_sigma + step_log * np.arange(n_logs)
    return logs, span_um[0] - beyond_um + step_um * np.arange(n_depths)


def shares(value, centres):
    """How much of a value each cell gets: the two around it, the nearer the more."""
    step = centres[1] - centres[0]
    return np.maximum(0.0, 1 - np.abs(value - centres) / step)


def at_windows(depth_um, depths_um):
    """What the displacement of each window counts for at a depth: straight between windows, even beyond the outer."""
    if len(depths_um) == 1:
        return np.ones(1)
    return shares(min(max(depth_um, depths_um[0]), depths_um[-1]), depths_um)


def places(peaks, displacement_um, bin_s, depths_um, logs, columns_um):
    """(bin, share of each window, share of each cell) of every peak, its depth corrected; None beyond the cells."""
    found = []
    for time_s, depth_um, amplitude in zip(*peaks, strict=True):
        t = min(int(time_s / bin_s), len(displacement_um) - 1)
        windows = at_windows(depth_um, depths_um)
        corrected_um = depth_um - (windows * displacement_um[t]).sum()
        log = math.log(abs(amplitude)) if amplitude else logs[0]
        here = None
        if columns_um[0] <= corrected_um < columns_um[-1]:
            here = np.outer(shares(min(max(log, logs[0]), logs[-1]), logs), shares(corrected_um, columns_um))
        found.append((t, windows, here))
    return found


def gaussian(sigma):
    """A Gaussian that ends at 4 sigma."""
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return kernel / kernel.sum()


def smooth_depth(field, sigma):
    """Each row, with nothing beyond the ends."""
    kernel = gaussian(sigma)
    padded = np.pad(field, ((0, 0), (len(kernel) // 2,) * 2))
    return np.array([np.convolve(row, kernel, mode="valid") for row in padded])


def smooth_amplitude(field, sigma):
    """Each column, the outermost values going on beyond the ends."""
    kernel = gaussian(sigma)
    padded = np.pad(field, ((len(kernel) // 2,) * 2, (0, 0)), mode="edge")
    return np.array([np.convolve(column, kernel, mode="valid") for column in padded.T]).T


def density(found, logs, columns_um, sigma_um, amplitude_sigma):
    """(amplitudes, depths) peaks a cell."""
    total = np.zeros((len(logs), len(columns_um)))
    for _, _, here in found:
        if here is not None:
            total += here
    total = smooth_amplitude(total, amplitude_sigma / (logs[1] - logs[0]))
    return smooth_depth(total, sigma_um / (columns_um[1] - columns_um[0]))


def fields(dense, duration_s, step_um, step_log, sigma_um, amplitude_sigma, background_hz, saturation_hz):
    """(slope, bend) of the log density."""
    hump_um, hump_log = math.sqrt(sigma_um**2 + 2.0**2), amplitude_sigma
    hump = 2 * math.pi * (hump_um / step_um) * (hump_log / step_log)
    slope = np.zeros_like(dense)
    last = dense.shape[1] - 1
    for column in range(last + 1):
        before, after = max(column - 1, 0), min(column + 1, last)
        slope[:, column] = (dense[:, after] - dense[:, before]) / ((after - before) * step_um)
    slope /= dense + background_hz * duration_s / hump
    bend = smooth_depth(dense * slope**2, sigma_um / step_um)
    bend /= np.maximum(smooth_depth(dense, sigma_um / step_um), 1e-12)
    rate_hz = dense * hump / duration_s
    weight = saturation_hz / (saturation_hz + rate_hz)
    return weight * slope, weight * bend / share_of_bend(sigma_um)


def share_of_bend(sigma_um, unit_um=2.0):
    """Of a Gaussian hump on a fine grid: its squared slopes, averaged as `fields` does, over what it bends by."""
    places = np.arange(-8, 8, 0.02) * math.hypot(sigma_um, unit_um)
    variance = sigma_um**2 + unit_um**2
    hump = np.exp(-(places**2) / (2 * variance))
    squares = hump * (places / variance) ** 2
    average = 0.0
    for place, peaks in zip(places, np.exp(-(places**2) / (2 * unit_um**2)), strict=True):
        near = np.exp(-((places - place) ** 2) / (2 * sigma_um**2))
        average += peaks * (near * squares).sum() / (near * hump).sum()
    return average / np.exp(-(places**2) / (2 * unit_um**2)).sum() * variance


def evidence(peaks, displacement_um, bin_s, depths_um, *layout, **of_density):
    """slopes (T, W), and how the log likelihood bends, (T, W, W): by each displacement of a bin with each other.

    The arguments are those of `sayings`.
    """
    slopes, bends = np.zeros_like(displacement_um), np.zeros((*displacement_um.shape, len(depths_um)))
    for t, windows, push, hold, _ in sayings(peaks, displacement_um, bin_s, depths_um, *layout, **of_density):
        slopes[t] += push * windows
        bends[t] += hold * np.outer(windows, windows)
    return slopes, bends


def sayings(
    peaks,
    displacement_um,
    bin_s,
    depths_um,
    span_um,
    farthest_um,
    sigma_um,
    depth_sigma_um=0.7,
    amplitude_sigma=0.12,
    background_hz=0.02,
    saturation_hz=20.0,
    border_um=20.0,
):
    """(bin, share of each window, slope, how it bends, corrected depth) of each peak that says anything."""
    logs, columns_um = cells(peaks[2], span_um, farthest_um, depth_sigma_um, amplitude_sigma)
    found = places(peaks, displacement_um, bin_s, depths_um, logs, columns_um)
    dense = density(found, logs, columns_um, sigma_um, amplitude_sigma)
    steps = columns_um[1] - columns_um[0], logs[1] - logs[0]
    duration_s = len(displacement_um) * bin_s
    slope, bend = fields(dense, duration_s, *steps, sigma_um, amplitude_sigma, background_hz, saturation_hz)
    said = []
    for depth_um, (t, windows, here) in zip(peaks[1], found, strict=True):
        counts = min((depth_um - span_um[0]) / border_um, (span_um[1] - depth_um) / border_um, 1.0)
        if here is None or counts <= 0:
            continue
        corrected_um = depth_um - (windows * displacement_um[t]).sum()
        push, hold = -counts * (slope * here).sum(), counts * (bend * here).sum()
        said.append((t, windows, push, hold, corrected_um))
    return said


def log_likelihood(
    peaks,
    displacement_um,
    bin_s,
    depths_um,
    span_um,
    farthest_um,
    sigma_um,
    depth_sigma_um=0.7,
    amplitude_sigma=0.12,
    background_hz=0.02,
    **of_slopes,
):
    """Mean log density of the peaks; beyond the cells it is as low as it gets."""
    logs, columns_um = cells(peaks[2], span_um, farthest_um, depth_sigma_um, amplitude_sigma)
    found = places(peaks, displacement_um, bin_s, depths_um, logs, columns_um)
    dense = density(found, logs, columns_um, sigma_um, amplitude_sigma)
    cell = (columns_um[1] - columns_um[0]) * (logs[1] - logs[0])
    hump = 2 * math.pi * math.hypot(sigma_um, 2.0) * amplitude_sigma / cell
    logarithm = np.log(dense + background_hz * len(displacement_um) * bin_s / hump)
    values = []
    for depth_um, (t, _, here) in zip(peaks[1], found, strict=True):
        wider = 1.0
        if len(depths_um) > 1 and depths_um[0] < depth_um < depths_um[-1]:
            w = np.searchsorted(depths_um, depth_um, side="right") - 1
            if depth_um > depths_um[w]:
                wider -= (displacement_um[t, w + 1] - displacement_um[t, w]) / (depths_um[1] - depths_um[0])
        values.append((logarithm.min() if here is None else (logarithm * here).sum()) + math.log(max(wider, 0.1)))
    return float(np.mean(values))


# --- what units agree on ----------------------------------------------------------------------------------------------


def stays(displacement_um, bin_s):
    """(T,) the stay of each bin."""
    shortest, longest = (max(1, round(length_s / bin_s)) for length_s in (1.0, 10.0))
    found = [[0]]
    for t in range(1, len(displacement_um)):
        away_um = np.abs(displacement_um[t] - displacement_um[found[-1][0]]).max()
        if len(found[-1]) >= (shortest if away_um > 5 else longest):
            found.append([])
        found[-1].append(t)
    return np.concatenate([np.full(len(bins), stay) for stay, bins in enumerate(found)])


def by_band(said, of_bins, lowest_um, n_bands, band_um):
    """(pushes, holds, scatter), (stays, bands) each; of_bins: the stay of each bin."""
    pushes, holds, scatter = (np.zeros((of_bins.max() + 1, n_bands)) for _ in range(3))
    for t, _, push, hold, corrected_um in said:
        band = math.floor((corrected_um - lowest_um) / band_um)
        pushes[of_bins[t], band] += push
        holds[of_bins[t], band] += hold
        scatter[of_bins[t], band] += push**2
    return pushes, holds, scatter


def shape_errors(pushes, holds, scatter, bands_um, depths_um, bending):
    """(shapes (S, W), weights (W,), variance of the size of each (S,)): how far each band is misplaced on average,
    times how much the motion changes if it is displaced by 1 µm. bending: of a stay."""
    n_windows, n_stays, total = len(depths_um), len(pushes), holds.sum(axis=0)
    windows = np.array([at_windows(min(max(depth, depths_um[0]), depths_um[-1]), depths_um) for depth in bands_um])
    weights = total @ windows
    weights = weights + weights.mean() / 1000 + 1e-12
    weights = weights / weights.sum()
    place = np.linspace(-1, 1, n_windows)
    seen = place[weights > weights.max() / 100]
    bent = np.minimum(np.maximum(place, seen[0]), seen[-1])
    columns = [place**0, place, bent**2, bent**3, bent**4][: min(5, len(seen))]
    roots = np.sqrt(weights)
    shapes = np.linalg.qr(np.array(columns).T * roots[:, None])[0].T / roots
    matrix = 1e-6 * np.eye(n_windows)
    for w in range(1, n_windows - 1):
        off_line = np.zeros(n_windows)
        off_line[w - 1 : w + 2] = 1, -2, 1
        matrix += bending * np.outer(off_line, off_line)
    for share, hold in zip(windows, total / n_stays, strict=True):
        matrix += hold * np.outer(share, share)
    squares = np.full(len(bands_um), np.nan)
    for band, (push, hold, chance) in enumerate(zip(pushes.T, holds.T, scatter.T, strict=True)):
        with_peaks = hold > 0
        if with_peaks.any():
            push, hold, chance = push[with_peaks], hold[with_peaks], chance[with_peaks]
            away_um = push / hold - push.sum() / hold.sum()
            freedom = 1 - ((hold / hold.sum()) ** 2).sum()
            if freedom > 0.05:
                squares[band] = max(np.average(away_um**2 - chance / hold**2, weights=hold), 0) / freedom
    known = ~np.isnan(squares)
    usual = np.average(squares[known], weights=total[known]) if total[known].sum() else 0.0
    variance = np.zeros(len(shapes))
    of_stays = holds.sum(axis=1)
    for band, share in enumerate(windows):
        if total[band] == 0:
            continue
        moved_um = np.linalg.solve(matrix, share * total[band] / n_stays)  # if it is displaced by 1 µm
        follows = min(share @ moved_um, 0.9)
        with_peaks = of_stays > 0
        parts = holds[with_peaks, band] / of_stays[with_peaks]
        crowd = (
            np.average(parts**2, weights=of_stays[with_peaks]) / np.average(parts, weights=of_stays[with_peaks]) ** 2
        )
        square = squares[band] if known[band] else usual
        variance += ((shapes * weights) @ moved_um / (1 - follows)) ** 2 * crowd * square
    return shapes, weights, variance


def shrunk(displacement_um, shapes, weights, variance, shrinkage):
    """(displacement, variance (W,)) with each shape about its mean over time as large as it is sure to be."""
    result = displacement_um.copy()
    for shape, error in zip(shapes, variance, strict=True):
        size = displacement_um @ (weights * shape)
        size -= size.mean()
        for t, each in enumerate(size):
            usual = max((size**2).mean(), each**2 / 4, 1e-12)
            result[t] -= min(1.0, shrinkage * error / usual) * each * shape
    return result, sum(error * shape**2 for shape, error in zip(shapes, variance, strict=True))


# --- the step ---------------------------------------------------------------------------------------------------------


def prior_matrix(n_bins, n_windows, likeness, bending, tension):
    """(T W, T W): half the quadratic form of it is what a displacement costs."""
    apart = np.abs(np.subtract.outer(np.arange(n_windows), np.arange(n_windows)))
    of_steps = np.linalg.inv(likeness ** apart.astype(float))
    matrix = np.zeros((n_bins * n_windows,) * 2)
    for t in range(n_bins - 1):
        step = np.zeros((n_windows, n_bins * n_windows))
        for w in range(n_windows):
            step[w, t * n_windows + w], step[w, (t + 1) * n_windows + w] = -1, 1
        matrix += tension[t] * step.T @ of_steps @ step
    for t in range(n_bins):
        for w in range(1, n_windows - 1):
            off_line = np.zeros(n_bins * n_windows)
            off_line[t * n_windows + w - 1 : t * n_windows + w + 2] = 1, -2, 1
            matrix += bending * np.outer(off_line, off_line)
    return matrix + RIDGE * np.eye(n_bins * n_windows)


def solution(displacement_um, slopes, bends, likeness, bending, tension):
    """(displacement (T, W), its covariance (T W, T W)). bends: (T, W, W)."""
    n_bins, n_windows = displacement_um.shape
    prior = prior_matrix(n_bins, n_windows, likeness, bending, tension)
    matrix = prior.copy()
    for t in range(n_bins):
        rows = slice(t * n_windows, (t + 1) * n_windows)
        matrix[rows, rows] += bends[t]
    change = np.linalg.solve(matrix, slopes.ravel() - prior @ displacement_um.ravel())
    return displacement_um + change.reshape(n_bins, n_windows), np.linalg.inv(matrix)


def first_steps(displacement_um, freedom, least_um=0.2):
    """(size of the steps, weight of each (T - 1,)) of a first displacement."""
    squares = [((after - before) ** 2).mean() for before, after in itertools.pairwise(displacement_um)]
    step_um = math.sqrt(max([least_um**2, *squares]))
    for _ in range(20 if squares else 0):
        believed = [(freedom + 1) / (freedom + square / step_um**2) * square for square in squares]
        step_um = max(math.sqrt(np.mean(believed)), least_um)
    return step_um, np.array([(freedom + 1) / (freedom * step_um**2 + square) for square in squares])


def learned(displacement_um, covariance, step_um, freedom):
    """(size of the steps, weight of each (T - 1,)) after one round of expectation maximization."""
    n_bins, n_windows = displacement_um.shape
    if n_bins == 1:
        return step_um, np.zeros(0)
    squares = []
    for t in range(n_bins - 1):
        total = 0.0
        for w in range(n_windows):
            a, b = t * n_windows + w, (t + 1) * n_windows + w
            variance = covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]
            total += (displacement_um[t + 1, w] - displacement_um[t, w]) ** 2 + variance
        squares.append(total / n_windows)
    believed = [(freedom + 1) / (freedom + square / step_um**2) for square in squares]
    step_um = max(math.sqrt(np.mean([b * s for b, s in zip(believed, squares, strict=True)])), 1e-3)
    return step_um, np.array([(freedom + 1) / (freedom + square / step_um**2) / step_um**2 for square in squares])


# --- the coarse motion ------------------------------------------------------------------------------------------------


def coarse_windows_um(span_um):
    count = round((span_um[1] - span_um[0]) / 400) + 1
    return np.linspace(*span_um, count) if count > 1 else np.array([(span_um[0] + span_um[1]) / 2])


def image(peaks, span_um, n_blocks, block_s):
    """(blocks, 8 layers, depths) of the log of one more than the peaks."""
    n_depths = int((span_um[1] - span_um[0]) / 5) + 2
    counts = np.zeros((n_blocks, 8, n_depths))
    sizes = np.abs(peaks[2])
    borders = np.quantile(sizes, np.linspace(0, 1, 129))
    for time_s, depth_um, size in zip(peaks[0], peaks[1], sizes, strict=True):
        depth = (depth_um - span_um[0]) / 5
        if not 0 <= depth < n_depths - 1:
            continue
        layer = min(max((borders < size).sum() / 128 * 8 - 0.5, 0), 7)
        share = np.outer(shares(layer, np.arange(8)), shares(depth, np.arange(n_depths)))
        counts[min(int(time_s / block_s), n_blocks - 1)] += share
    return np.log1p([smooth_depth(block, 1.0) for block in counts])


def best_match(earlier, later, weights, max_lag):
    """(lag, correlation) of two blocks (layers, depths), where bin k of the earlier meets k + lag of the later."""
    n, best = earlier.shape[1], (0, -np.inf)
    for lag in range(-max_lag, max_lag + 1):
        here = slice(max(0, -lag), min(n, n - lag))
        there = slice(here.start + lag, here.stop + lag)
        w = weights[here] * weights[there]
        w = w / (len(earlier) * w.sum())
        a, b = earlier[:, here], later[:, there]
        a, b = a - (w * a).sum(), b - (w * b).sum()
        spread = math.sqrt((w * a**2).sum() * (w * b**2).sum())
        correlation = (w * a * b).sum() / spread if spread > 1e-9 else 0.0
        if correlation > best[1]:
            best = lag, correlation
    return best


def coarse_motion(peaks, span_um, duration_s, block_s, horizon_s, max_disp_um):
    """(blocks, windows) of displacement."""
    n_blocks = max(1, math.ceil(duration_s / block_s))
    images = image(peaks, span_um, n_blocks, block_s)
    max_lag = min(max(1, int(max_disp_um / 5)), images.shape[2] - 1)
    reach = max(1, int(horizon_s / block_s))
    centres_um, depths_um = coarse_windows_um(span_um), span_um[0] + 5.0 * np.arange(images.shape[2])
    shape = (len(centres_um), n_blocks, n_blocks)
    asked_um, weight = np.zeros(shape), np.zeros(shape)
    for w, centre_um in enumerate(centres_um):
        weights = np.exp(-(((depths_um - centre_um) / 400) ** 2))
        for i in range(n_blocks):
            for j in range(i, min(n_blocks, i + reach + 1)):
                lag, correlation = best_match(images[i], images[j], weights, max_lag)
                asked_um[w, i, j], asked_um[w, j, i] = -5 * lag, 5 * lag
                weight[w, i, j] = weight[w, j, i] = max(correlation, 0) ** 2 / 2  # half from either side
    believed = weight
    for _ in range(6):
        motion_um = dredge_ap.solve(asked_um, believed, 1.0, 1.0, 1e-3)
        excess_um = asked_um - (motion_um.T[:, :, None] - motion_um.T[:, None, :])
        believed = weight / (1 + (excess_um / 6) ** 2) ** 2
    return motion_um


# --- blocks that are lost ---------------------------------------------------------------------------------------------


def recovery(peaks, coarse_um, span_um, block_s, max_disp_um):
    """(blocks, windows) by how much to move the coarse motion."""
    n_blocks, n_windows = coarse_um.shape
    centres_um = coarse_windows_um(span_um)
    reach_um = 5.0 * min(max(1, int(max_disp_um / 5)), int(np.ptp(span_um) / 5) + 1)
    offsets_um, slopes_um = np.arange(-reach_um, reach_um + 1, 5.0), np.arange(-60.0, 61.0, 10.0)
    place = np.linspace(-1, 1, n_windows) if n_windows > 1 else np.zeros(1)
    moves_um = [offset + slope * place for offset in offsets_um for slope in (slopes_um if n_windows > 1 else [0.0])]
    moves_um += [offset * one for offset in offsets_um for one in (np.eye(n_windows) if n_windows > 2 else [])]
    moves_um = [move for move in moves_um if np.abs(move).max() >= 10]
    sizes = np.abs(peaks[2])
    low, high = np.log(np.percentile(sizes[sizes > 0], (0.1, 99.9))) if (sizes > 0).any() else (0.0, 0.0)
    n_rows = int(min(high - low, 4.6) / 0.1) + 1
    first_um = span_um[0] - reach_um - 60
    n_columns = int((np.ptp(span_um) + 2 * (reach_um + 60)) / 2.5) + 2
    columns_um = first_um + 2.5 * np.arange(n_columns)
    image, moved_um, seen_s = np.zeros((n_rows, n_columns)), np.zeros((n_blocks, n_windows)), 0.0

    def at(field, row, depth_um):
        place = (depth_um - columns_um[0]) / 2.5
        if not 0 <= place < n_columns - 1:
            return 0.0
        column = int(place)
        return field[row][column] * (1 - place + column) + field[row][column + 1] * (place - column)

    for block in range(n_blocks):
        chosen = np.minimum(peaks[0] // block_s, n_blocks - 1) == block
        chosen = np.flatnonzero(chosen & (peaks[1] > span_um[0]) & (peaks[1] < span_um[1]))
        share = min(500 / max(len(chosen), 1), 1.0)
        if share < 1:
            chosen = chosen[np.linspace(0, len(chosen) - 1, 500).astype(int)]
        here = []  # row, corrected depth, share of each window
        moved = moved_um[block - 1].copy() if block else np.zeros(n_windows)
        for k in chosen:
            log = math.log(abs(peaks[2][k])) if peaks[2][k] else low
            row = min(max(int((log - low) / 0.1), 0), n_rows - 1)
            windows = at_windows(peaks[1][k], centres_um)
            before_um = between_blocks(coarse_um, block_s, centres_um, peaks[0][k : k + 1], peaks[1][k : k + 1])
            here.append((row, peaks[1][k] - before_um[0, 0], windows))
        cells_of_unit = 2 * math.pi * (5 / 2.5) * (0.12 / 0.1)
        worth = np.log1p(image * cells_of_unit / (0.1 * max(seen_s, 1e-9))).tolist()
        for _ in range(2 * n_windows if block else 0):
            gains = []
            now = [(row, depth_um - windows @ moved, windows) for row, depth_um, windows in here]
            for move in moves_um:
                far_um, gain = np.abs(move).max(), -10.0
                step_um = coarse_um[block] - coarse_um[block - 1] + moved - moved_um[block - 1] + move
                if np.abs(step_um).max() > reach_um:
                    gains.append(-np.inf)
                    continue
                asked = (0.3 + 0.05 * math.log1p((far_um / 20) ** 2)) / far_um
                for row, depth_um, windows in now:
                    by_um = windows @ move
                    gain += at(worth, row, depth_um - by_um) - at(worth, row, depth_um) - asked * abs(by_um)
                gains.append(gain)
            if not gains or max(gains) <= 0:
                break
            moved += moves_um[int(np.argmax(gains))]
        moved_um[block] = moved
        counts = np.zeros_like(image)
        for row, depth_um, windows in here:
            corrected_um = depth_um - windows @ moved
            if columns_um[0] <= corrected_um < columns_um[-1]:
                counts[row] += shares(corrected_um, columns_um)
        image += smooth_depth(smooth_amplitude(counts, 1.2), 2.0)
        seen_s += share * block_s
    return moved_um


# --- the whole --------------------------------------------------------------------------------------------------------


def depths_of(span_um, win_step_um):
    count = round((span_um[1] - span_um[0]) / win_step_um) + 1
    return np.linspace(*span_um, count) if count > 1 else np.array([(span_um[0] + span_um[1]) / 2])


def between_blocks(motion_um, block_s, centres_um, times_s, depths_um):
    """(T, W), straight between the middles of blocks and windows, and even beyond the outer ones."""
    middles_s = (np.arange(len(motion_um)) + 0.5) * block_s
    at_depths = np.array([np.interp(depths_um, centres_um, row) for row in motion_um])
    return np.array([np.interp(times_s, middles_s, column) for column in at_depths.T]).T


def resting(displacement_um, bin_s):
    """(W,) displacement at which each depth rests: a straight line along the shank."""
    columns = displacement_um.T
    lows, medians, highs = np.percentile(columns, (10, 50, 90), axis=1)
    near = [max((high - low) / 10, 1.0) for low, high in zip(lows, highs, strict=True)]
    there = [abs(value - m) <= n for column, m, n in zip(columns, medians, near, strict=True) for value in column]
    if np.mean(there) >= 0.8:
        rest = medians
    else:
        rest = []
        for low, median, high in zip(lows, medians, highs, strict=True):
            middle, within = (low + high) / 2, (high - low) / 8
            rest.append(min(max(median, middle - within), middle + within))
        began = at_first(columns, near, math.ceil(5 / bin_s))
        if began is not None:
            rest = np.array(began) + (np.median(displacement_um.mean(axis=1)) - np.mean(began))
    rest, places = np.array(rest) - columns.mean(axis=1), np.arange(len(columns))
    line = np.polyval(np.polyfit(places, rest, 1), places) if len(columns) > 1 else rest
    return columns.mean(axis=1) + line


def at_first(columns, near, least):
    """Median of each depth until one of them has left; None where they move on their way."""
    begins = [np.median(column[:least]) for column in columns]
    stop = least
    while stop < len(columns[0]) and all(
        abs(column[stop] - begin) <= n for column, begin, n in zip(columns, begins, near, strict=True)
    ):
        stop += 1
    moves = [[column[t + least] - column[t] for t in range(len(column) - least)] for column in columns]
    first = [abs(move) for column in moves for move in column[: stop - least]]
    if not first or np.median(first) > math.sqrt(np.mean(np.square(moves))) / 4:
        return None
    return [np.median(column[:stop]) for column in columns]


def estimate(
    peaks,
    span_um,
    duration_s,
    bin_s=0.2,
    win_step_um=100.0,
    max_disp_um=150.0,
    block_s=2.0,
    time_horizon_s=300.0,
    rounds=16,
    likeness_um=3000.0,
    bending_um=0.025,
    step_freedom=1.0,
    recover=True,
    shrinkage=3.0,
    **of_density,
):
    """(displacement, deviation), (T, W) each. of_density: see `sayings`."""
    n_bins, depths_um = math.ceil(duration_s / bin_s), depths_of(span_um, win_step_um)
    spacing_um = depths_um[1] - depths_um[0] if len(depths_um) > 1 else 1.0
    coarse_um = coarse_motion(peaks, span_um, duration_s, block_s, time_horizon_s, max_disp_um)
    times_s = (np.arange(n_bins) + 0.5) * bin_s
    centres_um = coarse_windows_um(span_um)
    starts = [coarse_um]
    if recover:
        moved_um = recovery(peaks, coarse_um, span_um, block_s, max_disp_um)
        starts += [coarse_um + moved_um] if moved_um.any() else []
    likeness = math.exp(-spacing_um / likeness_um)
    bending = bin_s / (bending_um * (spacing_um / 100) ** 2) ** 2

    def refined(displacement_um, last):
        step_um, tension = first_steps(displacement_um, step_freedom)
        for done in range(last):
            sigma_um = max(of_density.get("depth_sigma_um", 0.7), 8 * 0.75**done)
            layout = bin_s, depths_um, span_um, max_disp_um, sigma_um
            slopes, bends = evidence(peaks, displacement_um, *layout, **of_density)
            displacement_um, covariance = solution(displacement_um, slopes, bends, likeness, bending, tension)
            if done % 3 == 0:
                step_um, tension = learned(displacement_um, covariance, step_um, step_freedom)
        return displacement_um, covariance, layout

    tried = []
    for start_um in starts:
        displacement_um = between_blocks(start_um, block_s, centres_um, times_s, depths_um)
        after_trial, _, layout = refined(displacement_um, min(6, rounds))
        tried.append((log_likelihood(peaks, after_trial, *layout, **of_density), displacement_um))
    best = tried[-1] if len(tried) > 1 and tried[1][0] > tried[0][0] + 0.03 else tried[0]
    displacement_um, covariance, layout = refined(best[1], rounds)

    sizes = {"depth_sigma_um": 0.7, "amplitude_sigma": 0.12, **of_density}
    columns_um = cells(peaks[2], span_um, max_disp_um, sizes["depth_sigma_um"], sizes["amplitude_sigma"])[1]
    n_bands = int(len(columns_um) * (columns_um[1] - columns_um[0]) / 20) + 1
    bands_um = columns_um[0] + 20 * (np.arange(n_bands) + 0.5)
    said = sayings(peaks, displacement_um, *layout, **of_density)
    of_bands = by_band(said, stays(displacement_um, bin_s), columns_um[0], n_bands, 20.0)
    of_shapes = shape_errors(*of_bands, bands_um, depths_um, bending * n_bins / len(of_bands[0]))
    displacement_um, misplaced = shrunk(displacement_um, *of_shapes, shrinkage)
    deviation_um = np.sqrt(np.diag(covariance).reshape(displacement_um.shape) + misplaced)
    return displacement_um - resting(displacement_um, bin_s), deviation_um


def sums_of(pushes, holds, scatter, bands_um):
    """What the product's `Bands` has of arrays (stays, bands)."""
    seen = np.maximum(holds, 1e-300)
    of_stays = np.maximum(holds.sum(axis=1, keepdims=True), 1e-300)
    sums = pushes, holds, pushes**2 / seen, scatter / seen, holds**2, holds**2 / of_stays
    return len(pushes), bands_um, *(each.sum(axis=0) for each in sums)
