"""Numbers as people read them: times, sizes, counts."""

from __future__ import annotations


def seconds(value: float) -> str:
    """0.25 s, 1.2 s, 20 min, 3 min 20 s, 2 h, 2 h 5 min: to the second below an hour, then to the minute."""
    if value < 0.995:
        return f"{value:.2g} s"
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def readable_size(size_bytes: float) -> str:
    """`1.5 GB`, in units of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if float(f"{size_bytes:.3g}") < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def count_of(number: int, noun: str) -> str:
    """1 contact, 1,536 contacts."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
