"""Several files as one recording, spans of a recording, and its files one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import make_spikeglx
from driftcli.errors import InputError, UsageError
from driftcli.recording.join import between, file_of, join
from driftcli.recording.open import open_recording
from driftcli.recording.samples import BinarySamples, JoinedSamples, PartOfSamples
from driftcli.reporter import Reporter
from make_cbin import make_cbin
from make_raw import column_of_contacts, counts, probe_dict, write_json_probe, write_line_probe

FIRST = 500_141  # the number of the first sample in made metas
COLUMNS = 49
LENGTHS, GAPS = [300, 200, 250], [0, 1000]


@pytest.fixture
def samples():
    return counts(sum(LENGTHS), COLUMNS)


@pytest.fixture
def paths(tmp_path, samples):
    """Three files of one run; the second follows the first without a gap, the third comes later."""
    return make_spikeglx.make_set(tmp_path, make_spikeglx.made_meta("NP1"), samples, LENGTHS, GAPS)


def opened(paths, **options):
    return open_recording(paths, reporter=Reporter(), **options)


def parts_of(recording):
    return [(part.path.name[:10], part.start, part.stop, part.first_sample) for part in recording.parts]


def change_meta(path, **values):
    meta = path.with_suffix(".meta")
    meta.write_text(make_spikeglx.with_values(meta.read_text("utf-8"), **values), "utf-8")


# One recording of several files


def test_files_follow_each_other_in_the_order_given(paths, samples):
    recording = opened(paths)
    assert parts_of(recording) == [
        ("made_g0_t0", 0, 300, FIRST),
        ("made_g0_t1", 300, 500, FIRST + 300),
        ("made_g0_t2", 500, 750, FIRST + 1500),
    ]
    assert (recording.num_samples, recording.duration_s) == (750, 750 / 30_000)
    np.testing.assert_array_equal(recording.read(0, 750), samples)
    assert not recording.read(0, 750).flags.writeable
    assert recording.path == paths[0]
    assert [part.meta.path for part in recording.parts] == [path.with_suffix(".meta") for path in paths]
    assert list(recording.inputs) == ["recording", "meta", "recording_2", "meta_2", "recording_3", "meta_3"]


def test_it_breaks_where_samples_are_missing_only(paths):
    recording = opened(paths)
    assert recording.breaks.tolist() == [500]
    assert opened(paths[:2]).breaks.tolist() == []
    assert opened(paths[0]).breaks.tolist() == []
    assert opened([paths[0], paths[2]]).breaks.tolist() == [300]


def test_it_breaks_where_nothing_tells_that_samples_follow(paths):
    change_meta(paths[1], firstSample=None)
    assert opened(paths).breaks.tolist() == [300, 500]


def test_raw_files_are_joined_where_the_user_says_so(tmp_path):
    data, probe = counts(50, 6), write_line_probe(tmp_path / "p.json", 6)
    files = [tmp_path / "a.bin", tmp_path / "b.bin"]
    files[0].write_bytes(data[:20].tobytes())
    files[1].write_bytes(data[20:].tobytes())
    with pytest.raises(UsageError, match=r"a.bin and b.bin don't say that they are of one run") as caught:
        opened(files, probe=probe)
    assert "--concatenate" in caught.value.hint
    recording = opened(files, probe=probe, concatenate=True)
    np.testing.assert_array_equal(recording.read(0, 50), data)
    assert recording.breaks.tolist() == [20]
    assert recording.inputs == {"recording": files[0], "probe": probe, "recording_2": files[1]}
    np.testing.assert_array_equal(opened(files[::-1], probe=probe, concatenate=True).read(0, 30), data[20:])


def test_files_of_different_runs_are_joined_where_the_user_says_so(tmp_path, paths, samples):
    text = make_spikeglx.with_values(make_spikeglx.made_meta("NP1"), fileName="D:/other_g0_t0.imec0.ap.bin")
    other = make_spikeglx.make_spikeglx(tmp_path, text, samples[:100])
    with pytest.raises(UsageError, match="are of different runs") as caught:
        opened([paths[0], other])
    assert "--concatenate" in caught.value.hint
    recording = opened([paths[0], other], concatenate=True)  # both count from the same number: their clocks differ
    assert recording.breaks.tolist() == [300]
    assert recording.num_samples == 400


def test_another_probe_of_the_run_is_another_stream(tmp_path, paths, samples):
    text = make_spikeglx.with_values(make_spikeglx.made_meta("NP1"), fileName="D:/made_g0_t1.imec1.ap.bin")
    with pytest.raises(UsageError, match="are of different runs"):
        opened([paths[0], make_spikeglx.make_spikeglx(tmp_path, text, samples[:100])])


@pytest.mark.parametrize("first_sample", [FIRST, FIRST + 1000])
def test_runs_that_are_called_alike_are_joined_where_the_user_says_so(tmp_path, paths, samples, first_sample):
    """As `*/made_g0_t0.imec0.ap.bin` gives them: by their numbers of samples they may overlap, or may not."""
    text = make_spikeglx.with_values(make_spikeglx.made_meta("NP1"), firstSample=str(first_sample))
    (tmp_path / "day2").mkdir()
    other = make_spikeglx.make_spikeglx(tmp_path / "day2", text, samples[:100])
    assert other.name == paths[0].name
    with pytest.raises(UsageError, match=r"day2/made_g0_t0\.imec0\.ap\.bin are of different runs"):
        opened([paths[0], other])
    assert opened([paths[0], other], concatenate=True).breaks.tolist() == [300]


def test_another_probe_at_the_same_place_is_of_another_run(paths):
    change_meta(paths[0], imDatPrb_sn="18005106")
    change_meta(paths[1], imDatPrb_sn="18005107")
    with pytest.raises(UsageError, match="are of different runs"):
        opened(paths[:2])


def test_files_out_of_order_are_refused(paths):
    with pytest.raises(InputError, match=r"made_g0_t0\.imec0\.ap\.bin was recorded before made_g0_t1") as caught:
        opened([paths[1], paths[0]])
    assert "in order of time" in caught.value.hint
    with pytest.raises(InputError, match="was recorded before"):
        opened([paths[1], paths[0]], concatenate=True)


@pytest.mark.parametrize("overlap", [1, 299])
def test_files_that_overlap_are_refused(paths, overlap):
    change_meta(paths[1], firstSample=str(FIRST + 300 - overlap))
    with pytest.raises(InputError, match=rf"begins at sample {FIRST + 300 - overlap}, before .* ends at {FIRST + 300}"):
        opened(paths[:2])


@pytest.mark.parametrize("concatenate", [False, True])
def test_the_same_file_twice_is_refused(tmp_path, paths, concatenate):
    linked = tmp_path / "made_g0_t3.imec0.ap.bin"
    linked.symlink_to(paths[0])
    linked.with_suffix(".meta").write_bytes(paths[0].with_suffix(".meta").read_bytes())
    for again in (paths[0], linked):
        with pytest.raises(InputError, match="is given twice"):
            opened([paths[0], paths[1], again], concatenate=concatenate)


def gains(text):
    return text.replace("(5 0 0 500 250 1)", "(5 0 0 250 250 1)")


def place(text):
    return text.replace("(5 0 0 500 250 1)", "(5 1 0 500 250 1)")


def fewer_channels(text):
    return make_spikeglx.made_meta("NP1", saved=40)


def other_rate(text):
    return make_spikeglx.with_values(text, imSampRate="30004")


def already_lined_up(text):
    return make_spikeglx.with_values(text, catGTCmdline0="<CatGT -tshift>")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (fewer_channels, "number of columns"),
        (gains, "gains"),
        (place, "contact positions"),
        (other_rate, "sampling frequencies"),
        (already_lined_up, "sampling shifts"),
    ],
)
def test_files_with_other_channels_are_refused(tmp_path, change, words):
    text = make_spikeglx.made_meta("NP1")
    one = make_spikeglx.make_spikeglx(tmp_path, text, 100)
    changed = make_spikeglx.with_values(change(text), fileName="made_g0_t1.imec0.ap.bin", firstSample="600000")
    assert changed != make_spikeglx.with_values(text, fileName="made_g0_t1.imec0.ap.bin", firstSample="600000")
    other = make_spikeglx.make_spikeglx(tmp_path, changed, 100)
    for concatenate in (False, True):
        with pytest.raises(InputError, match=rf"other channels than made_g0_t0.*: their {words} differ"):
            opened([one, other], concatenate=concatenate)


def test_a_given_probe_hides_no_other_channels(tmp_path):
    """Wired by column, it would fit both."""
    text = make_spikeglx.made_meta("NP1", saved=6)
    saved = {"snsSaveChanSubset": "6:11,768", "snsChanMap": None}
    changed = make_spikeglx.with_values(text, fileName="made_g0_t1.imec0.ap.bin", firstSample="600000", **saved)
    files = [make_spikeglx.make_spikeglx(tmp_path, each, 100) for each in (text, changed)]
    probe = write_json_probe(tmp_path / "p.json", probe_dict(column_of_contacts(6), range(6)))
    with pytest.raises(InputError, match="their acquired numbers of channels differ"):
        opened(files, probe=probe)


def test_contacts_that_are_bad_in_one_file_are_bad(tmp_path):
    one = make_spikeglx.make_spikeglx(tmp_path, make_spikeglx.made_meta("NP1"), 100)
    text = make_spikeglx.made_meta("NP1").replace("(0:1:2:1)", "(0:1:2:0)").replace("made_g0", "other_g0")
    other = make_spikeglx.make_spikeglx(tmp_path, text, 100)
    for files in ([one, other], [other, one]):
        assert np.flatnonzero(opened(files, concatenate=True).labels).tolist() == [5]


def test_rates_that_were_measured_anew_are_the_same(tmp_path, paths):
    change_meta(paths[1], imSampRate="30000.4")
    assert opened(paths).sampling_frequency_hz == 30_000


def test_shanks_and_types_must_be_the_same(tmp_path):
    places = column_of_contacts(6)
    path = tmp_path / "a.bin"
    path.write_bytes(counts(20, 6).tobytes())
    (tmp_path / "b.bin").write_bytes(counts(20, 6, seed=1).tobytes())
    one, other = (
        write_json_probe(tmp_path / f"{name}.json", probe_dict(places, range(6), shank_ids=ids))
        for name, ids in (("p", "000000"), ("q", "000111"))
    )
    first = opened(path, probe=one)
    for second, words in (
        (opened(tmp_path / "b.bin", probe=other), "shanks"),
        (opened(tmp_path / "b.bin", probe=one, dtype="float32"), "dtype"),
        (opened(tmp_path / "b.bin", probe=one, gain_to_uv=2.0), "gains"),
    ):
        with pytest.raises(InputError, match=words):
            join([first, second], concatenate=True)


# Windows of several sources


@st.composite
def sources_and_windows(draw):
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    total = sum(lengths)
    first = draw(st.integers(0, total))
    last = draw(st.integers(first, total))
    start = draw(st.integers(0, last - first))
    return lengths, first, last, start, draw(st.integers(start, last - first))


class InMemory:
    """Samples that are there already; refuses what no source should be asked for."""

    def __init__(self, values):
        self.values, self.num_samples = values, len(values)

    def read(self, start, stop):
        assert 0 <= start <= stop <= self.num_samples
        return self.values[start:stop]


@settings(deadline=None, max_examples=300)
@given(sources_and_windows())
def test_windows_are_those_of_all_samples_in_a_row(case):
    lengths, first, last, start, stop = case
    cuts = np.cumsum(lengths)[:-1]
    everything = np.arange(2 * sum(lengths), dtype="<i2").reshape(-1, 2)
    joined = JoinedSamples([InMemory(part) for part in np.split(everything, cuts)])
    assert joined.num_samples == len(everything)
    np.testing.assert_array_equal(joined.read(first, last), everything[first:last])
    part = PartOfSamples(joined, first, last - first)
    window = part.read(start, stop)
    assert window.shape == (stop - start, 2)
    np.testing.assert_array_equal(window, everything[first:last][start:stop])


def test_a_window_within_one_file_is_not_copied(tmp_path):
    data = counts(30, 3)
    (tmp_path / "a").write_bytes(data.tobytes())
    source = BinarySamples(tmp_path / "a", np.dtype("<i2"), 3, 30)
    window = JoinedSamples([source, source]).read(2, 30)
    assert not window.flags.owndata


def test_compressed_files_keep_no_more_chunks_than_one_does(tmp_path):
    data, probe = counts(4000, 6), write_line_probe(tmp_path / "p.json", 6)
    files = [tmp_path / f"{number}.cbin" for number in range(5)]
    for number, path in enumerate(files):
        make_cbin(path, data[800 * number : 800 * (number + 1)], length=4 + number)
    recording = opened(files, probe=probe, concatenate=True)
    (recent,) = {source._recent for source in recording.samples._sources}
    recent.num_kept = 7
    for start in range(0, 4000, 500):
        np.testing.assert_array_equal(recording.read(start, start + 500), data[start : start + 500])
    assert len(recent) == 7


# A span of a recording


@pytest.mark.parametrize("span", [(0.001, 0.02), (None, 0.012), (0.004, None), (0.0100333, 0.0166), (0.0, 0.025)])
def test_a_span_is_the_file_cut_with_plain_numpy(paths, samples, span):
    recording = opened(paths, start_s=span[0], end_s=span[1])
    start = 0 if span[0] is None else round(span[0] * 30_000)
    stop = 750 if span[1] is None else round(span[1] * 30_000)
    assert recording.num_samples == stop - start
    assert recording.origin == start
    np.testing.assert_array_equal(recording.read(0, stop - start), samples[start:stop])
    # its parts are what is left of the files, with the numbers that the samples had
    bounds = [(0, 300, FIRST), (300, 500, FIRST + 300), (500, 750, FIRST + 1500)]
    left = [(max(a, start), min(b, stop), number + max(a, start) - a) for a, b, number in bounds]
    left = [(a - start, b - start, number) for a, b, number in left if a < b]
    assert [each[1:] for each in parts_of(recording)] == left
    assert recording.breaks.tolist() == ([500 - start] if start < 500 < stop else [])


def test_a_span_of_a_span_counts_from_the_files(paths, samples):
    once = opened(paths, start_s=0.005, end_s=0.024)
    twice = between(once, 0.003, 0.012)
    assert twice.origin == 240
    np.testing.assert_array_equal(twice.read(0, twice.num_samples), samples[240:510])
    assert [each[1:] for each in parts_of(twice)] == [
        (0, 60, FIRST + 240),
        (60, 260, FIRST + 300),
        (260, 270, FIRST + 1500),
    ]


def test_no_span_is_the_recording_itself(paths):
    recording = opened(paths)
    assert between(recording, None, None) is recording


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ((-0.001, None), "--start-s -0.001 is not within the recording of 0.025 s"),
        ((None, 0.026), "--end-s 0.026 is not within"),
        ((0.02, 0.01), "nothing lies between 0.02 s and 0.01 s"),
        ((0.01, 0.01), "nothing lies between 0.01 s and 0.01 s"),
        ((None, 0.0), "nothing lies between 0 s and 0 s"),
        ((0.025, None), "nothing lies between 0.025 s and 0.025 s"),
        ((float("nan"), None), "--start-s nan is not within"),
        ((None, float("inf")), "--end-s inf is not within"),
    ],
)
def test_spans_that_hold_nothing_or_reach_too_far_are_refused(paths, span, words):
    with pytest.raises(UsageError, match=words) as caught:
        opened(paths, start_s=span[0], end_s=span[1])
    assert caught.value.hint


# The files of a recording


@pytest.mark.parametrize("span", [(None, None), (0.002, 0.02)])
def test_each_file_is_a_recording(paths, samples, span):
    recording = opened(paths, start_s=span[0], end_s=span[1])
    start = recording.origin
    ends = np.cumsum(LENGTHS).tolist()
    for index, (path, length, end) in enumerate(zip(paths, LENGTHS, ends, strict=True)):
        first, last = max(end - length, start), min(end, start + recording.num_samples)
        file = file_of(recording, index)
        assert (file.path, file.meta.path) == (path, path.with_suffix(".meta"))
        assert (file.num_samples, file.origin) == (last - first, first)
        np.testing.assert_array_equal(file.read(0, last - first), samples[first:last])
        (part,) = file.parts
        number = FIRST + first + (1000 if index == 2 else 0)
        assert part == replace(recording.parts[index], start=0, stop=last - first, first_sample=number)
        assert not len(file.breaks)
