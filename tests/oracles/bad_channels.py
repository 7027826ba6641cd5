"""Bad contacts by the IBL's definitions, one contact at a time, in float64 and with scipy's filters and spectra."""

import numpy as np
from scipy import signal

GOOD, DEAD, NOISY, OUT = range(4)


def coherence(rows):
    """Covariance of each column with the medians of the rows, over the variance of these."""
    reference = np.array([np.median(row) for row in np.asarray(rows, np.float64)])
    reference = reference - np.mean(reference)
    return np.array([np.sum(column * reference) / np.sum(reference * reference) for column in np.asarray(rows).T])


def shares_a_signal(rows):
    """Whether the medians have over four times the power that they would have if the columns were independent."""
    medians = np.array([np.median(row) for row in np.asarray(rows, np.float64)])
    typical = np.median([np.mean(np.square(column, dtype=np.float64)) for column in rows.T])
    return np.var(medians) > 4 * np.pi / 2 * typical / rows.shape[1]


def running_median(values, length):
    half = (min(length, len(values)) - 1) // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def without_line(traces):
    return signal.detrend(np.asarray(traces, np.float64), axis=0)


def highpassed(traces, rate_hz, edge_hz):
    """The IBL's filter twice forward, as if the signal had been constant before."""
    sections = signal.butter(3, edge_hz, "highpass", fs=rate_hz, output="sos")
    once = signal.sosfilt(sections, np.asarray(traces, np.float64) - traces[0], axis=0)
    return signal.sosfilt(sections, once, axis=0)


def power_up_high(traces, rate_hz, windows=8, window_s=0.01):
    """Mean of the power density above 80 % of half the rate; the median of windows spread evenly."""
    length = round(window_s * rate_hz)
    found = []
    for start in np.linspace(0, len(traces) - length, windows).astype(int):
        window = np.asarray(traces[start : start + length], np.float64)
        hz, density = signal.periodogram(window, rate_hz, window="hann", detrend="constant", axis=0)
        found.append(density[hz > 0.8 * rate_hz / 2 + 1e-6].mean(axis=0))
    return np.median(found, axis=0)


def contacts_along(positions_um, shanks):
    """Contacts of each shank, by depth, then x."""
    for shank in sorted(set(shanks)):
        mine = [c for c in range(len(shanks)) if shanks[c] == shank]
        yield sorted(mine, key=lambda c: (positions_um[c][1], positions_um[c][0]))


def label(
    traces,
    positions_um,
    shanks,
    rate_hz,
    dead=-0.5,
    noisy=1.0,
    power_limit=0.02,
    power_factor=4.0,
    outside_limit=-0.75,
    outside="top",
    neighbours=11,
    edge_hz=300.0,
):
    """Labels of a slice; power_limit 0 where the gain is not known."""
    labels = np.full(traces.shape[1], GOOD)
    every, settled = int(rate_hz / 7500), int(np.ceil(3 * rate_hz / edge_hz))
    for contacts in contacts_along(positions_um, shanks):
        heard = [c for c in contacts if np.isfinite(traces[:, c]).all() and np.ptp(traces[:, c]) > 0]
        for c in contacts:
            labels[c] = DEAD if heard and c not in heard else GOOD
        if len(heard) < 8:
            continue
        mine = traces[:, heard]
        raw = without_line(mine[::every])
        filtered = highpassed(mine, rate_hz, edge_hz)[settled::every]
        power = power_up_high(mine, rate_hz)
        found = {}
        for i, c in enumerate(heard):
            loud = power[i] > power_limit and power[i] > power_factor * np.median(power)
            found[c] = NOISY if loud else GOOD
        if shares_a_signal(raw):
            values = coherence(raw)
            trend = running_median(values, neighbours)
            for i, c in enumerate(heard):
                difference = (values[i] - trend[i]) / max(1.0, abs(trend[i]))
                if difference > noisy:
                    found[c] = NOISY
                elif difference < dead and found[c] == GOOD:
                    found[c] = DEAD
        out = set()
        if shares_a_signal(filtered):
            below = running_median(coherence(filtered), neighbours) - 1 < outside_limit
            ends = {"top": [1], "bottom": [-1], "both": [1, -1]}[outside]
            for direction in ends if not below.all() else []:
                order = range(len(heard))[::-direction]
                for i in order:
                    if not below[i]:
                        break
                    out.add(heard[i])
        others = [c for c in heard if c not in out]
        if 2 * sum(found[c] != GOOD for c in others) > len(others):
            found = dict.fromkeys(heard, GOOD)
        for c in heard:
            labels[c] = OUT if c in out else found[c]
    return labels


def bad_by_the_ibl(traces, rate_hz):
    """Whether each contact of one shank, in order, is bad with the IBL's absolute thresholds alone; gain known."""
    every = max(int(rate_hz / 7500), 1)
    values = coherence(without_line(traces[::every]))
    detrended = values - running_median(values, 11)
    bad = (detrended < -0.5) | (detrended > 1) | (power_up_high(traces, rate_hz) > 0.02)
    trend = running_median(coherence(highpassed(traces, rate_hz, 300.0)[int(3 * rate_hz / 300) :: every]), 11)
    for i in range(len(trend))[::-1]:
        if trend[i] - 1 >= -0.75:
            break
        bad[i] = True
    return bad


def vote(labels):
    """The commonest label of each column; good if as common as another, else the lowest."""
    winners = []
    for column in np.asarray(labels, int).T:
        counts = {value: list(column).count(value) for value in sorted(set(column) | {GOOD})}
        winners.append(max(counts, key=lambda value: (counts[value], -value)))
    return np.array(winners)
