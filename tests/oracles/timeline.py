"""The time that an estimate works on, one bin and one peak at a time.

A bin is a tuple (stretch, start, end): the stretch between breaks that it is of, and its bounds in seconds.
"""

import itertools
import math


def bins(duration, bin_s, breaks):
    """All bins in order: each stretch begins with one; the last bin of a stretch ends with it, the very last is whole.

    What is beyond whole bins by less than a millionth of one is rounding.
    """
    found = []
    bounds = [0.0, *breaks, duration]
    for stretch in range(len(bounds) - 1):
        first, last = bounds[stretch], bounds[stretch + 1]
        count = max(1, math.ceil((last - first) / bin_s - 1e-6))
        for number in range(count):
            start, end = first + number * bin_s, first + (number + 1) * bin_s
            if number == count - 1:
                end = max(end, last) if stretch == len(bounds) - 2 else last
            found.append((stretch, start, end))
    return found


def masked_s(start, end, spans):
    """How much of a time is masked."""
    return sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in spans)


def kept(duration, bin_s, breaks, spans):
    """Whether each bin is kept: at most half of what the recording has of it is masked, and it is at least half as long
    as others; without breaks the last bin need not be."""
    found = []
    for _, start, end in bins(duration, bin_s, breaks):
        there = min(end, duration) - start
        long = there >= 0.5 * bin_s or not len(breaks)
        found.append(masked_s(start, end, spans) <= 0.5 * there and long)
    return found


def places(duration, bin_s, breaks, spans):
    """Which bin of the method's time each kept bin is, by its number.

    Before it are as many empty ones as were left out there, though no more than 8, and between files there are 8.
    """
    all_bins, keep = bins(duration, bin_s, breaks), kept(duration, bin_s, breaks, spans)
    found = {}
    for number in range(len(all_bins)):
        if not keep[number]:
            continue
        if not found:
            found[number] = 0
            continue
        before = max(found)
        same_file = all_bins[before][0] == all_bins[number][0]
        found[number] = found[before] + 1 + (min(number - before - 1, 8) if same_file else 8)
    return found


def take(times, duration, bin_s, breaks, spans):
    """(index of a peak, its time on the timeline) of all peaks that are left."""
    all_bins, place = bins(duration, bin_s, breaks), places(duration, bin_s, breaks, spans)
    taken = []
    for index, time in enumerate(times):
        if any(begin <= time < stop for begin, stop in spans):
            continue
        here = max(number for number, (_, start, _) in enumerate(all_bins) if start <= time)
        if here in place:
            taken.append((index, place[here] * bin_s + time - all_bins[here][1]))
    return taken


def restore(displacement, duration, bin_s, breaks, spans):
    """(centres, rows) of all bins: rows (windows,) of those kept are those of `displacement` at their places.

    Other bins get what lies on the straight line between the kept ones before and after them in their stretch, beyond
    the first and the last of these the same as there. In a stretch without any, those of all stretches count.
    """
    all_bins = bins(duration, bin_s, breaks)
    centres = [(start + end) / 2 for _, start, end in all_bins]
    placed = places(duration, bin_s, breaks, spans)
    rows_of = {number: list(displacement[place]) for number, place in placed.items()}
    rows = []
    for number, (stretch, _, _) in enumerate(all_bins):
        known = [other for other in rows_of if all_bins[other][0] == stretch] or list(rows_of)
        before = [other for other in known if other <= number]
        after = [other for other in known if other >= number]
        if not before or not after:
            rows.append(rows_of[after[0] if after else before[-1]])
            continue
        low, high = before[-1], after[0]
        share = 0.0 if low == high else (centres[number] - centres[low]) / (centres[high] - centres[low])
        rows.append([a + share * (b - a) for a, b in zip(rows_of[low], rows_of[high], strict=True)])
    return centres, rows


def deviations(deviation, displacement, duration, bin_s, breaks, spans):
    """Rows of all bins, as of `restore`: the deviation of a kept bin is that at its place.

    Others are off by what their neighbours are off by, and by the steps in between: variances lie on a straight line as
    displacements do, and a random walk of n steps that ends where it must is most uncertain in its middle. One that
    is held at one end only goes on and on; so does one across files, as nobody knows how far the motion stepped there.
    """
    all_bins, keep = bins(duration, bin_s, breaks), kept(duration, bin_s, breaks, spans)
    centres, moved = restore(displacement, duration, bin_s, breaks, spans)
    squares = [[value**2 for value in row] for row in deviation]
    _, variances = restore(squares, duration, bin_s, breaks, spans)
    number_of_kept = [number for number in range(len(all_bins)) if keep[number]]
    per_bin = []
    for window in range(len(displacement[0])):
        steps = []
        for i, j in itertools.pairwise(number_of_kept):
            if all_bins[i][0] == all_bins[j][0]:
                steps.append((moved[j][window] - moved[i][window]) ** 2 / ((centres[j] - centres[i]) / bin_s))
        per_bin.append(sum(steps) / len(steps) if steps else 0.0)
    rows = []
    for number, (stretch, _, _) in enumerate(all_bins):
        own = [other for other in number_of_kept if all_bins[other][0] == stretch]
        before = [(centres[number] - centres[k]) / bin_s for k in own or number_of_kept if k <= number]
        after = [(centres[k] - centres[number]) / bin_s for k in own or number_of_kept if k >= number]
        if keep[number]:
            bins_away = 0.0
        elif own and before and after:
            bins_away = min(before) * min(after) / (min(before) + min(after))
        else:
            bins_away = min(before + after)
        rows.append([math.sqrt(v + bins_away * s) for v, s in zip(variances[number], per_bin, strict=True)])
    return rows
