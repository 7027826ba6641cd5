"""What report.html holds, read without a browser."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import made_up_view
from driftcli.model import MASK_REASONS, VERDICTS, Mask, Motion, Scores
from driftcli.report import page as the_page
from driftcli.report.markup import element, filled, json_for_script
from driftcli.report.packed import packed, stride
from driftcli.report.page import page

HOSTILE = """</script><img src=x onerror="alert('&amp;')">{{data}}<!--"""
EMPTY = {"meta", "img", "br", "input"}
FIGURES = {name: made_up_view.png(40, 30) for name in ("drift_map", "peaks_on_probe", "clusters", "times")}


class Reader(HTMLParser):
    """Elements in order, with their attributes and texts; refuses what isn't closed in the order it was opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, text):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(text)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def map_data(text):
    return json.loads(re.search(r'<script type="application/json" id="drift-map-data">(.*?)</script>', text, re.S)[1])


def unpacked(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_it_is_well_formed_and_in_order():
    reader = Reader(page(made_up_view.view(500, n_shanks=2), FIGURES))
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert reader.all("html") == [{"lang": "en"}]
    referred = {given[name] for _, given in reader.elements for name in ("aria-labelledby", "for") if name in given}
    assert {"h-verdict", "shank"} <= referred <= set(ids)


def test_nothing_is_fetched_and_the_policy_names_what_runs():
    text = page(made_up_view.view(500), FIGURES)
    reader = Reader(text)
    policy = next(meta["content"] for meta in reader.all("meta") if "http-equiv" in meta)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        inner = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert len(inner) == 1
        digest = base64.b64encode(hashlib.sha256(inner[0].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest|import\(", text)
    assert all(image["src"].startswith("data:image/") for image in reader.all("img"))
    assert not reader.all("link")
    assert not [name for _, given in reader.elements for name in given if name == "style" or name.startswith("on")]


def test_what_files_say_stays_text():
    """Names and facts are anybody's: none of them becomes an element, an attribute or a script."""
    made_up = made_up_view.view(500)
    facts = json.loads(json.dumps(made_up.facts))
    facts["peaks.h5"] |= {
        "verb": HOSTILE,
        "command": ["driftcli", HOSTILE],
        "cpu": HOSTILE,
        "options": {HOSTILE: HOSTILE},
    }
    facts["peaks.h5"]["preset"] |= {HOSTILE: {"method": HOSTILE, HOSTILE: HOSTILE}}
    facts["peaks.h5"]["checksums"] |= {HOSTILE: {"size_bytes": 1, "sha256": HOSTILE}}
    facts["peaks.h5"]["times_s"] |= {HOSTILE: 1.0}
    facts["peaks.h5"]["counts"] |= {HOSTILE: HOSTILE}
    facts[HOSTILE] = {"verb": "apply"}
    found = dataclasses.replace(made_up.assessment, reasons=(HOSTILE,))
    hostile = dataclasses.replace(made_up, name=HOSTILE, facts=facts, assessment=found, amplitude_unit=HOSTILE)
    reader, plain = Reader(page(hostile, FIGURES)), Reader(page(made_up, FIGURES))
    assert reader.text.count(" ".join(HOSTILE.split())) >= 12
    for tag in ("script", "img", "style", "meta", "body", "main"):
        assert len(reader.all(tag)) == len(plain.all(tag)), tag


def test_facts_of_another_shape_are_no_reason_to_fail():
    odd = {
        "a": {},
        "b": {"preset": [], "times_s": 3, "counts": None, "command": "x", "checksums": {"c": 1}, "mask": []},
    }
    text = Reader(page(made_up_view.view(500, facts=odd), FIGURES)).text
    assert "Settings" in text


def test_without_verdict_and_facts_it_says_so():
    bare = made_up_view.view(500, assessment=None, facts={}, labels=None, corrections={}, mask=Mask())
    reader = Reader(page(bare, {}))
    assert "No verdict" in reader.text
    assert "Nobody assessed this motion" in reader.text
    assert "no run.json" in reader.text
    assert "Nobody looked for bad contacts" in reader.text
    assert "No figures were drawn" in reader.text
    assert "no recording was corrected" in reader.text
    assert "expected error" not in reader.text.split("What the words mean")[0]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_has_its_word_its_sign_and_its_colour(verdict):
    made_up = made_up_view.view(500)
    text = page(dataclasses.replace(made_up, assessment=made_up_view.assessment(made_up.motions, verdict)), {})
    word = verdict[0].upper() + verdict[1:]
    kind = verdict.replace(" ", "-")
    assert f'<div class="verdict {kind}">' in text
    assert f'<p class="word">{word}</p>' in text
    assert re.search(rf"^\.{kind} svg {{ color", text, re.M)
    signs = {sign for name, sign in the_page._SIGNS.items() if name != verdict}
    assert the_page._SIGNS[verdict] in text
    assert not any(sign in text for sign in signs)


def test_what_became_of_the_recording_is_said():
    made_up = made_up_view.view(500)
    told = {
        "was corrected by this motion": {"corrected.bin": "this motion"},
        "was left as it was": {"corrected.bin": "left as it was"},
        "Another motion than this one was used for corrected.bin: driftcli apply": {"corrected.bin": "another motion"},
        "whether by this motion, run.json does not tell": {"corrected.bin": "unknown motion"},
        "no recording was corrected": {},
    }
    for text, corrections in told.items():
        page_text = Reader(page(dataclasses.replace(made_up, corrections=corrections), {})).text
        assert [other for other in told if other in page_text] == [text]
    several = {"a.bin": "another motion", "b.bin": "this motion", "c.bin": "another motion"}
    text = Reader(page(dataclasses.replace(made_up, corrections=several), {})).text
    assert "was used for a.bin and c.bin: driftcli apply" in text
    assert "was corrected by this motion" in text


def test_a_motion_of_other_peaks_is_told():
    texts = [Reader(page(made_up_view.view(500, other_peaks=other), {})).text for other in (False, True)]
    assert ["estimated from other peaks than those shown" in text for text in texts] == [False, True]


def test_times_of_work_that_went_on_are_marked_and_have_no_speed():
    made_up = made_up_view.view(500)
    facts = json.loads(json.dumps(made_up.facts))
    facts["corrected.bin"]["counts"]["blocks"]["kept"] = 7
    text = Reader(page(dataclasses.replace(made_up, facts=facts), {})).text
    assert "apply corrected.bin 2 min 24 s (last attempt only) – prepare" in text
    assert "apply corrected.bin 2 min 24 s 8.3 prepare" in Reader(page(made_up, {})).text


def test_every_score_is_told_of_each_shank():
    made_up = made_up_view.view(500, n_shanks=2)
    names = [field.name for field in dataclasses.fields(Scores)]
    values = {name: index + 3 if name in ("peaks", "jumps") else 7.123 + index for index, name in enumerate(names)}
    other = dataclasses.replace(made_up.assessment.shanks[1], scores=Scores(**{**values, "unsupported_jumps": 77}))
    found = dataclasses.replace(made_up.assessment, shanks={**made_up.assessment.shanks, 1: other})
    text = Reader(page(dataclasses.replace(made_up, assessment=found), {})).text
    for name in names:
        if name in ("peaks", "jumps", "unsupported_jumps", "at_limit", "leaving"):
            continue
        assert f"{values[name]:.2f} µm" in text or f"{values[name]:.3f}" in text, name
    assert f"{values['at_limit']:.1%}" in text
    assert f"{values['leaving']:.1%}" in text
    assert "77" in text
    assert "–: there was too little to tell from" in text


def test_settings_numbers_and_files_are_all_there():
    made_up = made_up_view.view(500)
    text = Reader(page(made_up, FIGURES)).text
    for facts in made_up.facts.values():
        for stage, parameters in facts["preset"].items():
            assert stage in text
            assert parameters["method"] in text
            for name, value in parameters.items():
                told = value if isinstance(value, str) else json.dumps(value)
                assert name == "method" or f"{name} = {told}" in text, name
        for name, known in facts["checksums"].items():
            assert name in text
            assert known.get("sha256", "") in text
        assert set(facts["versions"].values()) <= set(text.split())
    assert "driftcli run mouse7_g0_t0.imec0.ap.bin --preset dredge --set estimate.bin_s=1" in text
    assert "25 November 2026, 14:45 UTC" in text
    assert "displacement \N{MINUS SIGN}14.2 to 33.1 µm" in text
    assert "estimate motion.h5 13.1 s 91.6 estimate 12.7 s" in text  # 1,200 s / 13.1 s
    assert "blocks (total 220, kept 0, redone 0)" in text
    assert "corrected.bin 14.4 GB CRC-32 of each block, in run.json" in text
    assert "0.83%" in text  # of the time, artifacts
    assert "2: 11, 12" in text  # noisy contacts


def test_a_stage_with_two_settings_has_two_rows():
    made_up = made_up_view.view(500)
    facts = json.loads(json.dumps(made_up.facts))
    facts["corrected.bin"]["preset"]["filter"]["order"] = 3
    text = Reader(page(dataclasses.replace(made_up, facts=facts), {})).text
    assert "order = 5" in text
    assert "order = 3" in text


def test_shares_of_time_left_out_come_from_the_mask_where_no_facts_say_them():
    mask = Mask(np.array([0, 30_000, 60_000]), np.array([60_000, 90_000, 75_000]), np.uint8([1, 3, 1]))
    bare = made_up_view.view(500, duration_s=100.0, facts={}, mask=mask)
    text = Reader(page(bare, {})).text
    assert re.search(r"saturation 2\.50%", text)
    assert re.search(r"artifact 2\.00%", text)
    assert re.search(r"any 3\.00%", text)


def test_what_is_packed_is_what_was_given():
    made_up = made_up_view.view(3_000, n_shanks=2)
    data = packed(made_up, 10**6)
    assert [each["shank"] for each in data["shanks"]] == [0, 1]
    for each in data["shanks"]:
        rows = made_up.peaks.shank == each["shank"]
        points, time, depth = each["peaks"], each["peaks"]["time"], each["peaks"]["depth"]
        assert points["count"] == rows.sum()
        ticks = np.cumsum(unpacked(time["since"], "<u2").astype(np.int64))
        np.testing.assert_allclose(time["from"] + time["step"] * ticks, made_up.peaks.time_s[rows], atol=time["step"])
        assert time["step"] < 1e-3
        for name, column in (("before", made_up.peaks.depth_um), ("after", made_up.peaks.corrected_depth_um)):
            got = depth["from"] + depth["step"] * unpacked(depth[name], "<u2")
            np.testing.assert_allclose(got, column[rows], atol=0.02)
        size = np.abs(made_up.peaks.amplitude[rows])
        low, high = data["amplitude"]
        colours = unpacked(points["amplitude"], "u1")
        np.testing.assert_allclose(colours, 255 * (np.log(size / low) / np.log(high / low)).clip(0, 1), atol=0.51)
        assert {0, 255} <= set(colours.tolist())
        motion, found = made_up.motions[each["shank"]], made_up.assessment.shanks[each["shank"]]
        np.testing.assert_array_equal(unpacked(each["motion"]["times_s"], "<f8"), motion.temporal_bins_s)
        for name, values in (
            ("displacement", motion.displacement_um),
            ("error", found.error_um),
            ("residual", found.residual_um),
        ):
            stored = unpacked(each["motion"][name]["values"], "<i2").reshape(values.shape)
            got = np.where(stored == -32768, np.nan, stored * each["motion"][name]["step"])
            np.testing.assert_allclose(got, values, atol=0.001)
    assert data["left_out"] == [[400.0, 402.0, 1], [100.0, 110.0, 3]]
    assert [data["reasons"][reason] for *_, reason in data["left_out"]] == [MASK_REASONS[1], MASK_REASONS[3]]
    assert data["breaks_s"] == [made_up_view.BREAK_S]
    assert data["time_units"] == [["s", 1, 0], ["min", 60, 180], ["h", 3600, 10_800]]


def test_a_peak_far_away_makes_no_depths_coarse():
    made_up = made_up_view.view(500)
    depth_um, corrected_um = made_up.peaks.depth_um.copy(), made_up.peaks.corrected_depth_um.copy()
    depth_um[[3, 9]] = corrected_um[[3, 9]] = -4e6, 1e7
    depth_um[20], corrected_um[21] = 3e6, -3e6  # one of the depths is shown
    peaks = dataclasses.replace(made_up.peaks, depth_um=depth_um, corrected_depth_um=corrected_um)
    made_up = dataclasses.replace(made_up, peaks=peaks)
    points = packed(made_up, 10**6)["shanks"][0]["peaks"]
    near = np.delete(np.arange(len(peaks)), [3, 9])
    assert points["count"] == len(near)
    for name, column in (("before", depth_um), ("after", corrected_um)):
        got = points["depth"]["from"] + points["depth"]["step"] * unpacked(points["depth"][name], "<u2")
        np.testing.assert_allclose(got, column[near].clip(-2_000, 4_000), atol=0.05)
    text = Reader(page(made_up, {})).text
    assert (
        f"{len(near):,} of {made_up.num_peaks:,} peaks are drawn. 2 peaks far beyond these depths are left out." in text
    )
    assert "far beyond" not in Reader(page(made_up_view.view(500), {})).text


def test_one_peak_and_none_at_all_are_packed():
    for number in (0, 1):
        made_up = made_up_view.view(50)
        few = dataclasses.replace(
            made_up, peaks=type(made_up.peaks)(*(v[:number] for v in vars(made_up.peaks).values()))
        )
        data = map_data(page(few, {}))
        assert data["shanks"][0]["peaks"]["count"] == number


def test_spans_that_touch_or_lie_within_another_are_one():
    mask = Mask(np.array([0, 3_000, 30_000, 60_000]), np.array([45_000, 6_000, 50_000, 75_000]), np.zeros(4, np.uint8))
    assert packed(made_up_view.view(50, mask=mask), 10)["left_out"] == [[0.0, 1.6667, 0], [2.0, 2.5, 0]]


def test_very_many_spans_are_joined_and_none_is_lost():
    starts = np.arange(0, 36_000_000, 1_800)
    mask = Mask(starts, starts + 30, np.full(len(starts), 1, np.uint8))
    spans = packed(made_up_view.view(50, mask=mask), 10)["left_out"]
    assert len(spans) <= 5_000
    inside = [any(begin <= start / made_up_view.RATE_HZ <= end for begin, end, _ in spans) for start in starts[::500]]
    assert all(inside)


def test_a_motion_that_is_sampled_very_finely_is_thinned_and_the_page_says_so():
    time_s = np.arange(0, 1_200, 0.002)
    fine = Motion(np.sin(time_s)[:, None] * np.ones(4), time_s, np.arange(4) * 100.0)
    made_up = made_up_view.view(500, motions={0: fine}, assessment=None)
    text = page(made_up, {})
    every = stride(made_up.motions)
    assert every > 1
    assert f"one temporal bin in {every:,}" in text
    assert len(text.encode()) < 2_200_000


def test_it_stays_below_its_size_with_many_peaks_and_large_figures():
    made_up = made_up_view.view(200_000)
    large = {name: made_up_view.png(1_000, 650, seed) for seed, name in enumerate(FIGURES)}
    assert sum(map(len, large.values())) > 2_600_000
    few, many = page(made_up, large), page(made_up, FIGURES)
    assert 4_900_000 < len(few.encode()) < 5_000_000
    assert len(many.encode()) < 2_500_000
    drawn = {text: sum(each["peaks"]["count"] for each in map_data(text)["shanks"]) for text in (few, many)}
    assert drawn[many] == len(made_up.peaks)
    assert 100_000 < drawn[few] < 190_000
    for text, number in drawn.items():
        assert f"{number:,} of {made_up.num_peaks:,} peaks" in text


def test_figures_are_whole_and_in_words():
    reader = Reader(page(made_up_view.view(500), {**FIGURES, "of_somebody": made_up_view.png(3, 3)}))
    images = [image for image in reader.all("img") if image.get("id", "").startswith("figure-")]
    assert [image["id"] for image in images] == [f"figure-{name}" for name in (*FIGURES, "of_somebody")]
    assert base64.b64decode(images[0]["src"].partition(",")[2]) == FIGURES["drift_map"]
    assert all(len(image["alt"]) > 8 for image in images)


def test_it_is_the_same_each_time():
    made_up = made_up_view.view(500)
    assert page(made_up, FIGURES) == page(made_up, FIGURES)


def test_markup_escapes_what_is_no_markup():
    assert element("b", "<&>", title='"') == '<b title="&quot;">&lt;&amp;&gt;</b>'
    assert element("b", element("i", "x"), hidden=True, id=None) == "<b hidden><i>x</i></b>"
    assert json.loads(json_for_script({"a": "</script><!--&"})) == {"a": "</script><!--&"}
    assert "<" not in json_for_script("</script><!--")
    assert filled("{{a}}{{b}}", {"a": "{{b}}", "b": "{ }"}) == "{{b}}{ }"
