"""Bins of a motion joined into runs, one bin after another over plain lists."""


def runs(motion, bins, steps, tolerance, short_s):
    """Lists of bins, each list a run. motion: (bins, windows)."""

    def side(when):
        return sum(step <= when for step in steps)

    def length(index):
        near = [bins[i] for i in (index - 1, index, index + 1) if 0 <= i < len(bins)]
        return (near[-1] - near[0]) / (len(near) - 1) if len(near) > 1 else float("inf")

    def is_zero(index):
        return all(value == 0 for value in motion[index])

    def may_be_one(run):
        if len({side(bins[index]) for index in run}) > 1:
            return False
        windows = list(zip(*(motion[index] for index in run), strict=True))
        if all(len(set(values)) == 1 for values in windows):
            return True
        if any(is_zero(index) or length(index) >= short_s for index in run):
            return False
        return all(max(values) - min(values) <= 2 * tolerance for values in windows)

    found = [[0]]
    for index in range(1, len(bins)):
        if may_be_one([*found[-1], index]):
            found[-1].append(index)
        else:
            found.append([index])
    return found


def middle(motion, run):
    """Per window, half way between the smallest and the largest of a run."""
    return [(min(values) + max(values)) / 2 for values in zip(*(motion[index] for index in run), strict=True)]
