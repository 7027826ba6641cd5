"""Bars are as long as verbs and stages took."""

from copy import deepcopy

import pytest
from drawn import collisions, texts

import made_up_view
from driftcli.report.times import timed_part, times, verb_times


def bars_of(view):
    figure = times(view)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    return figure, list(zip(names, [bar.get_width() for bar in axes.patches], strict=True))


def test_each_verb_is_followed_by_its_stages():
    view = made_up_view.view(10)
    figure, bars = bars_of(view)
    assert bars == [
        ("detect", 91.3),
        ("bad channels", 1.91),
        ("noise levels", 0.4),
        ("detect and localize", 88.2),
        ("estimate", 13.1),
        ("apply", 144.4),
        ("prepare", 0.3),
        ("apply", 143.9),
    ]
    told = [text for text, _ in texts(figure)]
    assert "91.3 s, 13.1 × real time" in told
    assert "13.1 s, 91.6 × real time" in told
    assert not collisions(figure)
    assert verb_times(view.facts) == {"detect": (91.3, ""), "estimate": (13.1, ""), "apply": (144.4, "")}


def test_no_times_are_words():
    (axes,) = (figure := times(made_up_view.view(10, facts={}))).axes
    assert not axes.patches
    assert "run.json knows of no times" in [text for text, _ in texts(figure)]


def with_blocks(facts, name, **blocks):
    facts = deepcopy(facts)
    facts[name]["counts"]["blocks"] = {"total": 220, "redone": 0, **blocks}
    return facts


@pytest.mark.parametrize(
    ("name", "blocks", "words"),
    [
        ("corrected.bin", {"kept": 0}, ""),
        ("corrected.bin", {"kept": 7}, "last attempt only"),
        ("corrected.bin", {"shards": 1}, ""),
        ("corrected.bin", {"shards": 4}, "last of 4 shards only"),
        ("peaks.h5", {"kept": 0, "shards": 4}, "sum of 4 shards"),
        ("peaks.h5", {"kept": 9, "shards": 4}, "sum of 4 shards, last attempts only"),
        ("peaks.h5", {"kept": "many"}, ""),
    ],
)
def test_times_of_a_part_of_the_work_say_so(name, blocks, words):
    facts = with_blocks(made_up_view.facts(), name, **blocks)
    assert timed_part(facts[name]) == words


def test_work_that_went_on_has_no_speed():
    facts = with_blocks(made_up_view.facts(), "corrected.bin", kept=7)
    figure = times(made_up_view.view(10, facts=facts))
    told = [text for text, _ in texts(figure)]
    assert {"144.4 s, last attempt only", "143.9 s, last attempt only", "91.3 s, 13.1 × real time"} <= set(told)
    assert any("in all 248.8 s, as far as it is known, for 1,200 s" in text.replace("\n", " ") for text in told)
    assert not collisions(figure)
