"""When channels are sampled: by the table in the meta, by the type of the probe, and what was lined up before."""

import re
from pathlib import Path

import numpy as np
import pytest
from probeinterface.neuropixels_tools import build_neuropixels_probe

from driftcli.recording.adc import sample_shifts
from driftcli.recording.meta import Meta, parse_meta
from driftcli.recording.open import open_recording
from driftcli.recording.spikeglx import saved_channels
from make_raw import write_line_probe
from make_spikeglx import SHARED_METAS, make_spikeglx, read_meta_text, with_values

needs_shared = pytest.mark.skipif(
    not SHARED_METAS.is_dir(), reason=f"the real meta files are not there: {SHARED_METAS}"
)

# (turns of a converter, those in a sample) as SpikeInterface 0.105.3's `inter_sample_shift` has them; None: lined up
REAL = {
    "NP-Ultra": (12, 13),
    "NP1_saved_only_subset_of_channels": (12, 13),
    "NP2020_sample_g0_t0.imec0.ap": (16, 16),
    "NP2_2013_all_channels.imec0.ap": (16, 16),
    "NP2_4_shanks.imec0.ap": (16, 16),
    "Noise_g0_t0.imec0.ap": (12, 13),
    "catgt": None,
    "doppio-checkerboard_t0.imec0.ap": (12, 13),
    "p2_g0_t0.imec0.ap": (16, 16),
    "phase3a.imec.ap": (12, 13),
}
TYPES = {"NP1000": 0, "PRB_1_4_0480_1": 0, "PRB2_1_2_0640_0": 21, "PRB2_4_2_0640_0": 24}
NUMBERS_OF_1 = (1010, 1015, 1020, 1030, 1032, 1100, 1110, 1121, 1123, 1200, 1210, 1300)
NUMBERS_OF_2_AND_3 = (2003, 2004, 2013, 2014, 2020, 3000, 3010, 3020)
PARTS = [*TYPES, *(f"NP{number}" for number in (*NUMBERS_OF_1, *NUMBERS_OF_2_AND_3))]


def meta_of(path="run_g0_t0.imec0.ap.meta", /, **values):
    return Meta(Path(path), {re.sub("^TABLE_", "~", key): value for key, value in values.items()})


def shifts_of(meta, channels=384):
    return sample_shifts(meta, np.arange(channels))


def reason_with(*lines, **more):
    """Why a recording is lined up, whose meta has these command lines of CatGT."""
    lines = {f"catGTCmdline{number}": f"<CatGT {line}>" for number, line in enumerate(lines)}
    shifts = shifts_of(meta_of(imDatPrb_type="0", **lines, **more))
    assert shifts.lined_up == (shifts.fractions is None)
    return shifts.reason if shifts.lined_up else ""


@needs_shared
def test_every_shared_file_is_a_case():
    assert {path.stem for path in SHARED_METAS.glob("*.meta")} == set(REAL)


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_a_real_recording(tmp_path, reporter, name):
    binary = make_spikeglx(tmp_path, read_meta_text(SHARED_METAS / f"{name}.meta"), 4)
    recording = open_recording(binary, reporter=reporter)
    if REAL[name] is None:
        assert recording.sample_shifts.fractions is None
        assert recording.sample_shifts.lined_up
        assert "catGTCmdline0" in recording.sample_shifts.reason
        return
    turns, of_a_sample = REAL[name]
    expected = np.arange(len(recording.columns)) // 2 % turns / of_a_sample
    np.testing.assert_array_equal(recording.sample_shifts.fractions, expected)


@needs_shared
@pytest.mark.parametrize("name", [name for name in REAL if name.startswith(("NP2020", "NP2_2013", "catgt"))])
def test_the_table_of_a_real_meta_and_its_probe_type_agree(name):
    path = SHARED_METAS / f"{name}.meta"
    values = {key: value for key, value in parse_meta(path.read_bytes()).items() if not key.startswith("catGT")}
    acquired = saved_channels(Meta(path, values)).acquired
    listed = sample_shifts(Meta(path, values), acquired)
    by_type = sample_shifts(Meta(path, {key: value for key, value in values.items() if key != "~muxTbl"}), acquired)
    assert "~muxTbl" in listed.reason
    assert "probe type" in by_type.reason
    np.testing.assert_array_equal(listed.fractions, by_type.fractions)


@pytest.mark.parametrize("part", PARTS)
def test_probe_types_have_the_order_of_the_probe_table(part):
    try:
        annotations = build_neuropixels_probe(part).annotations
    except (KeyError, ValueError):
        pytest.skip(f"this probeinterface does not know {part}")
    if "adc_sampling_table" not in annotations:
        pytest.skip("this probeinterface has no tables")
    _, *turns = re.findall(r"\(([^)]*)\)", annotations["adc_sampling_table"])
    channels = int(annotations["num_readout_channels"])
    expected = np.full(channels, np.nan)
    for turn, row in enumerate(turns):
        of_turn = np.array(row.split(), int)
        expected[of_turn[of_turn < channels]] = turn
    known = np.flatnonzero(np.isfinite(expected))  # the table of NP3010 ends before its channels do
    expected /= len(turns) + (annotations["lf_sample_frequency_hz"] > 0)
    number = TYPES.get(part, int(part[2:]) if part.startswith("NP") else -1)
    got = shifts_of(meta_of(imDatPrb_type=str(number)), channels).fractions
    np.testing.assert_array_equal(got[known], expected[known])
    assert len(known) >= 0.5 * channels


def test_saved_channels_are_looked_up_by_the_number_they_were_acquired_with():
    acquired = np.array([0, 3, 24, 50, 383])
    shifts = sample_shifts(meta_of(imDatPrb_type="0"), acquired)
    np.testing.assert_array_equal(shifts.fractions, np.array([0, 1, 0, 1, 11]) / 13)
    np.testing.assert_array_equal(shifts.of(np.array([4, 1])).fractions, np.array([11, 1]) / 13)


def test_the_table_of_the_meta_comes_first():
    table = "(2,3)(4 1)(0 5)(3 2)"
    for number, of_a_sample in (("0", 4), ("21", 3)):
        got = shifts_of(meta_of(imDatPrb_type=number, TABLE_muxTbl=table), 6)
        np.testing.assert_array_equal(got.fractions, np.array([1, 0, 2, 2, 0, 1]) / of_a_sample)


@pytest.mark.parametrize(("counts", "of_a_sample"), [("6,6,1", 4), ("6,0,1", 3), (None, 3), ("odd", 3)])
def test_an_unknown_type_with_a_table_takes_lf_channels_if_such_were_acquired(counts, of_a_sample):
    more = {} if counts is None else {"acqApLfSy": counts}
    got = shifts_of(meta_of(imDatPrb_type="9999", TABLE_muxTbl="(2,3)(4 1)(0 5)(3 2)", **more), 6)
    np.testing.assert_array_equal(got.fractions, np.array([1, 0, 2, 2, 0, 1]) / of_a_sample)


@pytest.mark.parametrize("number", ["9999", "new", "22"])
def test_an_unknown_type_without_a_table_tells_nothing(number):
    shifts = shifts_of(meta_of(imDatPrb_type=number))
    assert shifts.fractions is None
    assert not shifts.lined_up
    assert "does not tell" in shifts.reason
    assert shifts.of(np.array([1])) == shifts


@pytest.mark.parametrize("table", ["", "(32,12)", "(2,2)(0 1)(2 x)", "(2,2)(0 1)(2 3)", "odd"])
def test_a_table_that_lacks_channels_tells_nothing(table):
    shifts = shifts_of(meta_of(imDatPrb_type="0", TABLE_muxTbl=table))
    assert shifts.fractions is None
    assert not shifts.lined_up
    assert "~muxTbl" in shifts.reason


def test_a_raw_recording_tells_nothing(tmp_path, reporter):
    probe = write_line_probe(tmp_path / "probe.json", 4)
    path = tmp_path / "rec.bin"
    path.write_bytes(bytes(4 * 2 * 10))
    shifts = open_recording(path, probe=probe, reporter=reporter).sample_shifts
    assert shifts.fractions is None
    assert not shifts.lined_up


@needs_shared
def test_another_probe_leaves_the_times_of_the_columns(tmp_path, reporter):
    binary = make_spikeglx(tmp_path, read_meta_text(SHARED_METAS / "Noise_g0_t0.imec0.ap.meta"), 4)
    probe = write_line_probe(tmp_path / "probe.json", 10)
    recording = open_recording(binary, probe=probe, reporter=reporter)
    np.testing.assert_array_equal(recording.sample_shifts.fractions, recording.columns // 2 % 12 / 13)


@needs_shared
def test_the_real_output_of_catgt_counts_as_shifted_unless_its_command_line_says_no(tmp_path, reporter):
    text = read_meta_text(SHARED_METAS / "catgt.meta")
    line = parse_meta(text.encode())["catGTCmdline0"]
    told_not_to = with_values(text, catGTCmdline0=line.replace("-gblcar", "-gblcar -no_tshift"))
    shifts = open_recording(make_spikeglx(tmp_path, told_not_to, 4), reporter=reporter).sample_shifts
    np.testing.assert_array_equal(shifts.fractions, np.arange(384) // 2 % 12 / 13)


def test_catgt_lines_up_unless_told_not_to():
    assert "catGTCmdline0" in reason_with("-dir=/d -run=r -g=0 -t=0 -ap -gblcar")
    assert not reason_with("-dir=/d -run=r -g=0 -t=0 -ap -no_tshift -gblcar")
    assert not reason_with("-no_tshift")
    assert reason_with("-dir=/d/-no_tshift -run=r -ap")
    assert reason_with("-run=r -no_tshift_please -ap")


def test_catgt_before_2_2_lines_up_only_when_told_to():
    assert not reason_with("-dir=/d -run=r -ap -aphipass=300 -gbldmx")
    assert reason_with("-dir=/d -run=r -ap -aphipass=300 -tshift -gblcar")


def test_one_of_several_passes_is_enough():
    assert "catGTCmdline1 of run_g0_t0.imec0.ap.meta" in reason_with("-ap -no_tshift", "-ap -t=cat")
    assert "catGTCmdline0" in reason_with("-ap", "-ap -no_tshift")
    assert not reason_with("-ap -no_tshift", "-ap -no_tshift")


def supercat_of(tmp_path, lines, places, options=""):
    """The shifts of a supercat of runs whose metas have these command lines and lie in these places."""
    elements = ""
    for number, (line, place) in enumerate(zip(lines, places, strict=True)):
        run, folder = f"r{number}_g0", tmp_path / f"day{number}"
        path = folder / place.format(run=run)
        path.parent.mkdir(parents=True)
        path.write_text(f"fileName=x\ncatGTCmdline0=<CatGT {line}>\n")
        elements += f"{{{folder},{'catgt_' if 'catgt' in place else ''}{run}}}"
    return shifts_of(
        meta_of(
            str(tmp_path / "r0_g0_tcat.imec1.ap.meta"),
            imDatPrb_type="0",
            catGTCmdline=f"<CatGT -supercat={elements} -ap -prb=1 -dest=/d{options}>",
        )
    )


PLACES = [
    "catgt_{run}/{run}_tcat.imec1.ap.meta",
    "catgt_{run}/{run}_imec1/{run}_tcat.imec1.ap.meta",
    "{run}/{run}_tcat.imec1.ap.meta",
    "{run}_tcat.imec1.ap.meta",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("options", ["", " -no_tshift"])
def test_a_supercat_inherits_from_its_inputs(tmp_path, place, options):
    not_lined_up = supercat_of(tmp_path / "a", ["-ap -no_tshift"] * 2, [place] * 2, options)
    assert not_lined_up.fractions is not None
    lined_up = supercat_of(tmp_path / "b", ["-ap -no_tshift", "-ap"], [place] * 2, options)
    assert lined_up.lined_up
    assert "r1_g0_tcat.imec1.ap.meta" in lined_up.reason


def test_a_supercat_whose_inputs_are_gone_goes_by_its_own_command_line(tmp_path):
    nowhere = "another.txt"
    assert supercat_of(tmp_path / "a", ["-no_tshift"], [nowhere]).lined_up
    assert not supercat_of(tmp_path / "b", ["-ap"], [nowhere], " -no_tshift").lined_up


def test_a_supercat_that_names_itself_is_read_once(tmp_path):
    path = tmp_path / "r0_g0_tcat.imec1.ap.meta"
    line = f"<CatGT -supercat={{{tmp_path},r0_g0}} -ap>"
    path.write_text(f"catGTCmdline={line}\n")
    assert shifts_of(meta_of(str(path), imDatPrb_type="0", catGTCmdline=line)).lined_up


def test_what_driftcli_lined_up_is_not_shifted_again():
    assert "driftcli" in reason_with(driftcliPhaseShift="applied")
    assert "driftcli" in reason_with(driftcliPhaseShift="none", driftcliPhaseShift_2="applied")
    assert not reason_with(driftcliPhaseShift="none")
