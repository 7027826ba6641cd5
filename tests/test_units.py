"""Times, sizes and counts as people read them."""

import pytest

from driftcli.units import count_of, readable_size, seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 s"),
        (0.0034, "0.0034 s"),
        (0.25, "0.25 s"),
        (0.994, "0.99 s"),
        (0.996, "1.0 s"),
        (1.0, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (1200, "20 min"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h"),
        (3700, "1 h 2 min"),
        (7199, "2 h"),
        (7500, "2 h 5 min"),
        (3.6e6, "1,000 h"),
    ],
)
def test_seconds(value, expected):
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (123_456_789, "123 MB"),
        (999_999, "1 MB"),
        (1.5e9, "1.5 GB"),
        (2.25e13, "22.5 TB"),
    ],
)
def test_sizes(size, expected):
    assert readable_size(size) == expected


def test_counts():
    assert [count_of(number, "contact") for number in (0, 1, 1536)] == ["0 contacts", "1 contact", "1,536 contacts"]
