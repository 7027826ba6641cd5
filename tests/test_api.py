"""driftcli from Python: the bytes of the command line, typed results, documented keywords, and a clean end."""

import json
import re
import signal
import subprocess
import sys
import threading
from importlib import import_module, util
from inspect import Parameter, getdoc, isfunction, signature
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import typer

import driftcli
import small_recording
from driftcli import api
from driftcli.api.signatures import takes
from driftcli.api.verbs import SimulationOptions
from driftcli.cli.main import app
from driftcli.simulate.simulate import SimulateParameters
from driftcli.workflow.verify import DEFAULT_PLACES

ROOT = Path(__file__).parents[1]
FUNCTIONS = {name: getattr(driftcli, name) for name in driftcli.__all__ if isfunction(getattr(driftcli, name))}
GAIN = small_recording.GAIN_TO_UV
HOW = {"preset": "rigid_fast", "changes": {"estimate.bin_s": 0.5, "detect.detect_threshold": 6}}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A binary and its probe."""
    return small_recording.write(tmp_path_factory.mktemp("recording"), small_recording.samples(87_001))


@pytest.fixture(scope="module")
def ran(recording):
    binary, probe = recording
    return driftcli.run(binary, probe=probe, gain_to_uv=GAIN, out=binary.with_name("ran"), jobs=2, **HOW)


def output_bytes(folder):
    """Of all that holds no times."""
    with_times = ("run.json", "report.html")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in with_times and path.is_file()}


def test_run_writes_the_bytes_of_the_command_line(recording, ran, tmp_path):
    binary, probe = recording
    command = [
        sys.executable,
        "-m",
        "driftcli",
        "run",
        binary,
        "--probe",
        probe,
        "--gain-to-uv",
        GAIN,
        "--out",
        tmp_path,
    ]
    command += ["--preset", "rigid_fast", "--set", "estimate.bin_s=0.5", "--set", "detect.detect_threshold=6"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=300)
    assert (tmp_path / "report.html").exists()
    assert ran.report_path == ran.folder / "report.html"
    assert ran.report_path.exists()
    assert output_bytes(ran.folder) == output_bytes(tmp_path)
    assert set(output_bytes(tmp_path)) == {"peaks.h5", "motion.h5", "assessment.h5", "corrected.bin", "probe.json"}


def test_a_result_says_where_things_are_and_what_was_done(ran):
    assert isinstance(ran, driftcli.RunResult)
    folder = ran.folder
    assert (ran.peaks_path, ran.motion_path) == (folder / "peaks.h5", folder / "motion.h5")
    assert (ran.corrected_path, ran.probe_path) == (folder / "corrected.bin", folder / "probe.json")
    assert ran.corrected_paths == (ran.corrected_path,)
    outputs = json.loads((folder / "run.json").read_text())["outputs"]
    for verb, name in (("detect", "peaks.h5"), ("estimate", "motion.h5"), ("apply", "corrected.bin")):
        told = {key: value for key, value in outputs[name].items() if key != "sha256_of_facts"}
        assert json.loads(json.dumps(ran.facts[verb])) == {**told, "output": str(folder / name)}
    assert ran.facts["detect"]["jobs"] == 2
    assert any(" of memory" in text for text in ran.messages)
    assert "checksums" not in repr(ran)
    with pytest.raises(AttributeError):
        ran.folder = folder


def test_a_result_reads_peaks_and_motion_once_and_when_asked(recording, ran):
    peaks, motion = ran.peaks, ran.motion
    assert peaks is ran.peaks
    assert motion is ran.motion
    assert isinstance(motion[0], driftcli.Motion)
    assert len(peaks) == len(peaks.time_s) == ran.facts["detect"]["counts"]["peaks"] > 100
    np.testing.assert_array_equal(peaks.time_s, peaks.peaks.sample_index / 30_000)
    np.testing.assert_array_equal(peaks.depth_um, peaks.peaks.location["y_um"])
    np.testing.assert_array_equal(peaks.amplitude, peaks.peaks.amplitude)
    assert (peaks.shank == 0).all()
    np.testing.assert_array_equal(driftcli.read_motion(ran.motion_path)[0].displacement_um, motion[0].displacement_um)
    np.testing.assert_array_equal(driftcli.read_peaks(ran.peaks_path).time_s, peaks.time_s)


def test_steps_one_by_one_give_what_run_gives(recording, ran, tmp_path):
    binary, probe = recording
    found = driftcli.detect(str(binary), probe=str(probe), gain_to_uv=GAIN, out=tmp_path / "peaks.h5", **HOW)
    moved = driftcli.estimate_file(found.path, jobs=1)
    judged = driftcli.assess(tmp_path)
    corrected = driftcli.apply(binary, moved.path, out=tmp_path / "corrected.bin", chunk_s=0.6)
    assert output_bytes(tmp_path) == output_bytes(ran.folder)
    assert judged.verdict == ran.verdict == ran.assessment.verdict
    assert corrected.probe_path == tmp_path / "probe.json"
    assert found.facts["counts"] == ran.facts["detect"]["counts"]
    np.testing.assert_array_equal(moved.motion[0].displacement_um, ran.motion[0].displacement_um)


def arrays_of(ran):
    depths_um = ran.peaks.facts.geometry.depths_um
    how = {"duration_s": ran.peaks.facts.duration_s, "span_um": (depths_um.min(), depths_um.max())}
    return [ran.peaks.time_s, ran.peaks.depth_um, ran.peaks.amplitude], {**HOW, **how}


@pytest.mark.parametrize("given", ["sorted", "shuffled", "lists"])
def test_arrays_give_the_motion_that_the_file_gives_and_stay_as_they_are(ran, given):
    arrays, how = arrays_of(ran)
    if given == "shuffled":
        order = np.random.default_rng(0).permutation(len(arrays[0]))
        arrays = [values[order] for values in arrays]
    arrays = [values.tolist() for values in arrays] if given == "lists" else arrays
    if given != "lists":
        for values in arrays:
            values.flags.writeable = False
    motion = driftcli.estimate(*arrays, **how, jobs=2)
    np.testing.assert_allclose(motion.displacement_um, ran.motion[0].displacement_um, atol=1e-9)
    np.testing.assert_array_equal(motion.temporal_bins_s, ran.motion[0].temporal_bins_s)
    if given == "sorted":
        np.testing.assert_array_equal(motion.displacement_um, ran.motion[0].displacement_um)


def test_estimate_takes_what_the_file_verb_takes(ran, tmp_path):
    arrays, _ = arrays_of(ran)
    np.savez(tmp_path / "p.npz", **dict(zip(("time_s", "depth_um", "amplitude_uv"), arrays, strict=True)))
    how = {**HOW, "exclude_times": [(0.4, 1.1), (2.5, np.inf)], "span_um": (-10.0, 300.0)}
    moved = driftcli.estimate_file(tmp_path / "p.npz", **{**how, "exclude_times": "0.4-1.1,2.5-"})
    for again in (
        driftcli.estimate_file(tmp_path / "p.npz", overwrite=True, **how).motion[0],
        driftcli.estimate(*arrays, **how),
    ):
        np.testing.assert_array_equal(again.displacement_um, moved.motion[0].displacement_um)
        np.testing.assert_array_equal(again.spatial_bins_um, moved.motion[0].spatial_bins_um)
    other = driftcli.estimate(*arrays, **{**how, "exclude_times": None})
    assert not np.array_equal(other.displacement_um, moved.motion[0].displacement_um)
    longer = driftcli.estimate(*arrays, **HOW, duration_s=7)
    assert len(longer.temporal_bins_s) == 14
    assert len(driftcli.estimate(*arrays, **{**HOW, "changes": {"estimate.bin_s": 1}}).temporal_bins_s) == 3


@pytest.mark.parametrize(
    ("arrays", "how", "error", "words"),
    [
        (([1.0], [1.0, 2.0], [1.0, 2.0]), {}, driftcli.InputError, "one length"),
        (([[1.0]], [[1.0]], [[1.0]]), {}, driftcli.InputError, "one length"),
        ((1.0, 2.0, 3.0), {}, driftcli.InputError, "one length"),
        (([], [], []), {}, driftcli.InputError, "no peaks"),
        (([1.0, 2.0], [1.0, np.nan], [1.0, 2.0]), {}, driftcli.InputError, "NaN"),
        (([-1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {}, driftcli.InputError, "before time 0"),
        (([1.0, 2.0], [1.0, 2.0], ["a", "b"]), {}, driftcli.InputError, "not the numbers"),
        (([1.0, 2.0], [1.0, [2.0, 3.0]], [1.0, 2.0]), {}, driftcli.InputError, "can't be read"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"duration_s": 1.5}, driftcli.InputError, "no duration"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"duration_s": np.nan}, driftcli.InputError, "no duration"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"span_um": (5, 1)}, driftcli.UsageError, "no span"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"jobs": 0}, driftcli.UsageError, "0 jobs"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"max_memory": "1kB"}, driftcli.UsageError, "no amount"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"max_memory": "1MB"}, driftcli.UsageError, "more than the 1 MB"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"preset": "dredg"}, driftcli.UsageError, "did you mean 'dredge'"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"changes": {"estimate.bin": 1}}, driftcli.UsageError, "'bin_s'"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"changes": {"estimat.bin_s": 1}}, driftcli.UsageError, "'estimate'"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"changes": {"estimate": 1}}, driftcli.UsageError, "stage.key"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), {"changes": ["estimate.bin_s=1"]}, driftcli.UsageError, "a mapping"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(arrays, how, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        driftcli.estimate(*arrays, **how)
    assert isinstance(caught.value, driftcli.DriftcliError)


def test_changes_are_those_of_set(ran):
    arrays, how = arrays_of(ran)
    nested = {"estimate.method": "decentralized", "estimate.bin_s": np.int64(1)}
    motion = driftcli.estimate(*arrays, **{**how, "changes": nested})
    assert len(motion.temporal_bins_s) == 3


def test_peaks_are_corrected_by_the_line_that_the_docstring_gives(ran, tmp_path):
    result = driftcli.correct_peaks(ran.peaks_path, ran.motion_path, out=tmp_path / "corrected_peaks.h5")
    peaks, motion = ran.peaks, ran.motion[0]
    expected = (peaks.depth_um - motion.at(peaks.time_s, peaks.depth_um)).astype(np.float32)
    np.testing.assert_array_equal(result.peaks.peaks.location["y_corrected_um"], expected)
    assert (expected != peaks.depth_um).any()


def test_a_motion_of_arrays_is_applied_as_one_of_a_file(recording, ran, tmp_path):
    binary, probe = recording
    path = driftcli.write_motion(tmp_path / "new" / "motion.h5", ran.motion[0], like=ran.motion_path)
    result = driftcli.apply(binary, path, out=tmp_path / "corrected.bin")
    assert result.corrected_path.read_bytes() == ran.corrected_path.read_bytes()
    with pytest.raises(driftcli.OutputError, match="exists"):
        driftcli.write_motion(path, ran.motion)
    driftcli.write_motion(path, ran.motion, overwrite=True)
    with pytest.raises(driftcli.DriftcliError):  # it says nothing of a probe
        driftcli.apply(binary, path, out=tmp_path / "again.bin")
    again = driftcli.apply(binary, path, probe=probe, gain_to_uv=GAIN, preset="rigid_fast", out=tmp_path / "again.bin")
    assert again.corrected_path.read_bytes() == ran.corrected_path.read_bytes()
    with pytest.raises(driftcli.InputError, match="no motion"):
        driftcli.write_motion(tmp_path / "none.h5", {})


def test_a_motion_goes_out_and_comes_back(ran, tmp_path):
    table = driftcli.export_motion(ran.motion_path, "csv", out=tmp_path / "motion.csv")
    assert table.path.read_text().count("\n") > 3
    back = driftcli.import_motion(table.path, like=ran.motion_path)
    assert back.path == tmp_path / "motion_imported.h5"
    np.testing.assert_array_equal(back.motion[0].displacement_um, ran.motion[0].displacement_um)
    with pytest.raises(driftcli.UsageError, match="--to csv"):
        driftcli.export_motion(ran.motion_path, "csv", preset="dredge", overwrite=True)


def test_a_simulation_has_its_truth(tmp_path):
    made = driftcli.simulate(tmp_path, duration_s=2.0, num_channels=8, t_start_s=0.5, drift="bumps", seed=3)
    truth = driftcli.read_truth(made.truth_path)
    np.testing.assert_array_equal(made.truth.motion.displacement_um, truth.motion.displacement_um)
    assert driftcli.accuracy(truth.motion, truth)["max_um"] == 0
    path = driftcli.write_motion(tmp_path / "motion.h5", truth.motion)
    assert driftcli.accuracy(path, made.truth_path)["max_um"] == 0
    recording = driftcli.open_recording(
        made.recording_path, probe=made.probe_path, gain_to_uv=made.gain_to_uv, end_s=1.5, bad_channels=[3, 5]
    )
    assert (recording.num_samples, len(recording.geometry)) == (45_000, 8)
    assert np.flatnonzero(recording.labels).tolist() == [3, 5]
    assert recording.read(0, 10).shape == (10, 8)
    with pytest.raises(driftcli.UsageError, match="did you mean 'seed'"):
        driftcli.simulate(tmp_path, sed=3, overwrite=True)
    with pytest.raises(driftcli.OutputError):
        driftcli.simulate(tmp_path)


def test_files_that_were_cut_off_are_taken_where_that_is_said(recording, tmp_path):
    binary, probe = recording
    short = tmp_path / "short.bin"
    short.write_bytes(binary.read_bytes()[:-7])
    with pytest.raises(driftcli.InputError):
        driftcli.open_recording(short, probe=probe)
    assert driftcli.open_recording(short, probe=probe, truncated="ok").num_samples == 87_000


def test_info_and_verify_look_and_leave_nothing(recording, ran):
    binary, probe = recording
    before = sorted(binary.parent.rglob("*"))
    facts = driftcli.info(binary, probe=probe, gain_to_uv=GAIN, out=ran.folder, **HOW)
    assert facts["recording"]["num_samples"] == 87_001
    found = driftcli.verify(ran.folder, places=1, seed=0)
    assert (found.wrong, found.seed) == ([], 0)
    assert any(finding.state == "ok" for finding in found.findings)
    assert sorted(binary.parent.rglob("*")) == before


def test_forms_are_those_of_the_command_line(recording, ran, tmp_path):
    binary, probe = recording
    how = {"probe": probe, "gain_to_uv": GAIN, "preset": "rigid_fast"}
    result = driftcli.apply(
        [binary], ran.motion_path, out=tmp_path, split=True, compress=True, bad_channels_out="zero", **how
    )
    assert result.corrected_paths == (tmp_path / "corrected_rec.cbin",)
    assert all(path.is_file() for path in (*result.corrected_paths, result.probe_path))
    assert result.facts["preset"]["interpolate"]["bad_channels"] == "zero"
    other = tmp_path / "other" / binary.name
    other.parent.mkdir()
    other.write_bytes(binary.read_bytes())
    with pytest.raises(driftcli.UsageError, match="two outputs would be"):
        driftcli.run([binary, other], concatenate=True, split=True, out=tmp_path / "two", **how)


class Interrupting(driftcli.Reporter):
    """Presses Ctrl-C when a stage has done some of its work."""

    def __init__(self, stage):
        self.stage, self.pressed = stage, False

    def progress(self, stage, done, total, recording_s=0.0):
        if stage.startswith(self.stage) and 0 < done < total and not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("stage", ["detect", "apply"])
def test_ctrl_c_leaves_no_thread_and_nothing_half_written(recording, ran, tmp_path, stage):
    binary, probe = recording
    out = tmp_path / "out"
    how = {"probe": probe, "gain_to_uv": GAIN, "out": out, "jobs": 2, "chunk_s": 0.3, **HOW}
    reporter = Interrupting(stage)
    with pytest.raises(KeyboardInterrupt):
        driftcli.run(binary, **how, reporter=reporter)
    assert reporter.pressed
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("driftcli")]
    assert not [path.name for path in out.iterdir() if not path.name.startswith(".")]
    resumed = driftcli.run(binary, **how, resume=True)
    assert output_bytes(resumed.folder) == output_bytes(ran.folder)


@pytest.mark.parametrize(("preset", "others"), [("dredge_fast", {"win_scale_um": 60}), ("likelihood", {})])
def test_ctrl_c_in_an_estimate_of_arrays_leaves_no_thread(ran, preset, others):
    arrays, how = arrays_of(ran)
    reporter, before = Interrupting("estimate"), threading.active_count()
    keys = {"bin_s": 0.2, "win_step_um": 40, "max_disp_um": 20, **others}
    how |= {"preset": preset, "changes": {f"estimate.{key}": value for key, value in keys.items()}}
    with pytest.raises(KeyboardInterrupt):
        driftcli.estimate(*arrays, **how, jobs=2, reporter=reporter)
    assert reporter.pressed
    assert threading.active_count() == before


def test_a_reporter_is_told(recording, tmp_path):
    binary, probe = recording
    told = []

    class Telling(driftcli.Reporter):
        def message(self, text):
            told.append(("message", text))

        def note(self, event, **facts):
            told.append(("note", event))

        def progress(self, stage, done, total, recording_s=0.0):
            told.append(("progress", stage))

    result = driftcli.detect(binary, probe=probe, out=tmp_path / "peaks.h5", reporter=Telling(), **HOW)
    assert {kind for kind, _ in told} == {"message", "note", "progress"}
    assert tuple(text for kind, text in told if kind == "message") == result.messages


def test_unknown_keywords_and_values_are_refused_with_a_suggestion(recording):
    with pytest.raises(TypeError, match="no keyword 'prob'; did you mean 'probe'"):
        driftcli.run(recording[0], prob=recording[1])
    with pytest.raises(driftcli.UsageError, match="shanks='al'") as caught:
        driftcli.run(recording[0], shanks="al")
    assert caught.value.hint == "one of each, together"
    with pytest.raises(driftcli.UsageError, match="output_dtype='int32'"):
        driftcli.run(recording[0], output_dtype="int32")
    assert driftcli.run.__signature__.parameters["shanks"].default is None


def senseless_calls():
    """Function, what it is called with, and words of its refusal."""
    return [
        ("run", (5,), {}, "recording=5 is not a path or several of: a path"),
        ("run", ([],), {}, "no file of a recording"),
        ("info", ([],), {}, "no file of a recording"),
        ("run", ("rec.bin",), {"chunk_s": "a"}, "chunk_s='a' is not a number"),
        ("run", ("rec.bin",), {"jobs": True}, "jobs=True is not a whole number"),
        ("run", ("rec.bin",), {"jobs": 2.5}, "jobs=2.5 is not a whole number"),
        ("run", ("rec.bin",), {"split": "yes"}, "split='yes' is not True or False"),
        ("run", ("rec.bin",), {"exclude_times": [3]}, "exclude_times=[3] is not a path or several of: a pair"),
        ("run", ("rec.bin",), {"reporter": print}, "is not a Reporter"),
        ("run", ("rec.bin",), {"preset": 3}, "preset=3 is not a path"),
        ("run", ("rec.bin",), {"changes": ["estimate.bin_s=1"]}, "is not a mapping"),
        ("detect", ("rec.bin",), {"bad_channels": [1.5]}, "bad_channels=[1.5] is not a text"),
        ("export_motion", ("motion.h5", "cvs"), {}, "to='cvs' is none of the values there are; did you mean 'csv'?"),
        ("export_motion", ("motion.h5", ["csv"]), {}, "to=['csv'] is none of the values"),
        ("plot", ("folder",), {"time_s": 5}, "time_s=5 is not a pair of numbers"),
        ("plot", ("folder",), {"time_s": (None, 5)}, "time_s=(None, 5) is not a pair"),
        ("plot", ("folder",), {"depth_um": (1, 2, 3)}, "depth_um=(1, 2, 3) is not a pair"),
        ("compare", ("folder",), {}, "nothing to compare"),
        ("compare", ([1, 2],), {}, "folders=[1, 2] is not a path or several"),
        ("verify", ("folder",), {"seed": -5}, "-5 can't be a seed"),
        ("verify", ("folder",), {"seed": "x"}, "seed='x' is not a whole number"),
        ("estimate", ([1.0], [1.0], [1.0]), {"max_memory": 0}, "0 is no amount of memory"),
        ("estimate", ([1.0], [1.0], [1.0]), {"max_memory": [2]}, "max_memory=[2] is not a text or a number"),
        ("read_peaks", (None,), {}, "path=None is not a path"),
        ("write_motion", ("motion.h5", {0: "motion"}), {}, "is not a Motion or a mapping"),
        ("accuracy", (3, "truth.npz"), {}, "motion=3 is not a path or a Motion"),
        ("simulate", (3,), {}, "out=3 is not a path"),
    ]


@pytest.mark.parametrize(("name", "values", "keywords", "words"), senseless_calls())
def test_a_value_of_another_kind_is_refused_in_a_line(name, values, keywords, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(driftcli.UsageError, match=re.escape(words)) as caught:
        FUNCTIONS[name](*values, **keywords)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_kinds_are_taken_as_numpy_has_them(recording, ran, tmp_path):
    binary, probe = recording
    opened = driftcli.open_recording(binary, probe=probe, gain_to_uv=np.float32(2), end_s=np.int64(1), dtype=None)
    assert opened.num_samples == 30_000
    how = {"probe": str(probe), "concatenate": np.bool_(False)}
    for bad in (3, np.int64(3), [3], np.array([3]), "3", {3}, range(3, 4)):
        assert np.flatnonzero(driftcli.open_recording([binary], bad_channels=bad, **how).labels).tolist() == [3]
    assert driftcli.open_recording(binary, bad_channels=[], **how).labels is None
    arrays, options = arrays_of(ran)
    motion = driftcli.estimate(*arrays, **options, max_memory=2e9, exclude_times=np.array([[0.5, 1]]))
    assert motion.displacement_um.shape == ran.motion[0].displacement_um.shape
    with pytest.raises(driftcli.UsageError, match="more than the 1 MB"):
        driftcli.estimate(*arrays, **options, max_memory=10**6)


NOT_IN_PYTHON = {"quiet", "json", "debug", "log", "shard", "array", "scheduler", "shards"}
VERBS = {
    "run": "run", "info": "info", "detect": "detect", "estimate": "estimate_file", "apply": "apply", "verify": "verify",
    "correct-peaks": "correct_peaks", "simulate": "simulate", "export": "export_motion", "import": "import_motion",
    "accuracy": "accuracy", "assess": "assess", "plot": "plot", "compare": "compare",
}  # fmt: skip
ELSEWHERE = {"submit", "merge", "presets"}  # of batch jobs and of the command line


@pytest.mark.parametrize("verb", VERBS)
def test_keywords_are_the_options_of_the_command_line(verb):
    command = typer.main.get_command(app).commands[verb]
    theirs = {parameter.name for parameter in command.params} - NOT_IN_PYTHON
    theirs -= {"chunk_s"} if verb == "verify" else set()
    ours = set(signature(FUNCTIONS[VERBS[verb]]).parameters) - {"reporter"}
    if verb == "simulate":
        ours = (ours - {"parameters"}) | set(SimulationOptions.__annotations__)
    assert ours == theirs


def test_every_command_is_a_function_or_known_not_to_be():
    assert set(typer.main.get_command(app).commands) - ELSEWHERE == set(VERBS)


def documented(text):
    """Names of the parameters that a docstring has a line for."""
    lines = re.findall(r"^((?:\w+, )*\w+): ", text, re.M)
    return [name for line in lines for name in line.split(", ")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_name_every_parameter_in_order_the_result_and_errors(name):
    text, parameters = getdoc(FUNCTIONS[name]), signature(FUNCTIONS[name]).parameters
    names = [each for each in documented(text) if each != "Source"]
    assert names == list(parameters), name
    assert "Returns " in text
    assert all(hasattr(driftcli, error) for error in re.findall(r"\w+Error", text))
    assert "Error" in text
    assert all(each.default in (None, False, Parameter.empty, DEFAULT_PLACES) for each in parameters.values())
    assert max(map(len, text.splitlines())) <= 120
    if name != "simulate":  # whose parameters are the fields of a group
        assert list(get_type_hints(FUNCTIONS[name])) == [*parameters, "return"]


def test_arrays_have_shapes_and_units():
    text = getdoc(driftcli.estimate)
    for name, unit in (("time_s", "seconds"), ("depth_um", "µm"), ("amplitude_uv", "µV")):
        assert re.search(rf"^{name}: \(N,\) .*{unit}", text, re.M)
    for name in ("displacement_um", "temporal_bins_s", "spatial_bins_um"):
        assert re.search(rf"`{name}` \([TW]", text)
    assert "Source: " in text


@pytest.mark.parametrize("name", sorted(set(driftcli.__all__) - set(FUNCTIONS)))
def test_every_class_has_a_docstring_with_its_fields(name):
    kind = getattr(driftcli, name)
    text = "\n".join(getdoc(each) or "" for each in kind.__mro__ if each.__module__.startswith("driftcli"))
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{name}(")  # what dataclass writes where nothing is
    if name.endswith("Result"):
        assert not [field for field in kind.__dataclass_fields__ if not re.search(rf"\b{field}\b.*:", text)]


def test_a_simulation_is_told_what_there_is_to_tell():
    fields = SimulateParameters.model_fields
    assert all(re.search(rf"^    (\w+, )*{name}(, \w+)*: ", getdoc(driftcli.simulate), re.M) for name in fields)
    assert get_type_hints(SimulationOptions) == {name: field.annotation for name, field in fields.items()}


def test_a_group_without_functions_changes_nothing_else():
    @takes(driftcli.api.options.WorkOptions)
    def function(a, *, b=1, **options):
        """One.

        a, b: two.

        Returns three.
        """
        return a, b, options

    assert function(1, overwrite=True) == (1, 1, {"overwrite": True})
    assert list(signature(function).parameters) == ["a", "b", "overwrite", "reporter"]
    assert documented(getdoc(function)) == ["a", "b", "overwrite", "reporter"]
    assert getdoc(function).endswith("\n\nReturns three.")


def child(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120).stdout


def test_names_are_those_of_the_api_and_loaded_when_asked_for():
    assert driftcli.__all__ == sorted(api.__all__)
    assert set(driftcli.__all__) <= set(dir(driftcli))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        driftcli.nonsense  # noqa: B018
    code = (
        "import sys, driftcli; dir(driftcli); from driftcli import __version__\n"
        "print({'numpy', 'numba', 'scipy', 'h5py', 'yaml', 'typer', 'pydantic'} & set(sys.modules))\n"
        "driftcli.run; print({'typer', 'rich', 'click', 'matplotlib'} & set(sys.modules))"
    )
    assert child(code).split() == ["set()", "set()"]


def test_verbs_are_not_hidden_by_the_folders_of_their_name():
    names = ("detect", "estimate", "simulate")
    code = (
        "import driftcli\n"
        "import driftcli.detect.extrema\n"
        "from driftcli.estimate import windows\n"
        "from driftcli.simulate.simulate import SimulateParameters\n"
        f"print(*(type(getattr(driftcli, name)).__name__ for name in {names}))\n"
        "import driftcli.detect.by_channel\n"
        "from driftcli import detect\n"
        "print(type(detect).__name__)"
    )
    assert child(code).split() == ["function"] * 4
    for name in names:
        import_module(f"driftcli.{name}")
        assert isfunction(getattr(driftcli, name))


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "driftcli" / "py.typed").is_file()


SNIPPET = """
from typing import Any
import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type
import driftcli

result = driftcli.run("rec.bin", probe="probe.json", changes={"estimate.bin_s": 1}, jobs=2, truncated="ok")
assert_type(result, driftcli.RunResult)
assert_type(result.motion, dict[int, driftcli.Motion])
assert_type(result.facts, dict[str, Any])
assert_type(driftcli.detect(["a.bin", "b.bin"]).peaks.time_s, NDArray[np.float64])
motion = driftcli.estimate([0.0], [1.0], [2.0])
assert_type(motion, driftcli.Motion)
assert_type(motion.at(0, [1.0, 2.0]), NDArray[np.float64])
assert_type(driftcli.estimate_file("peaks.h5"), driftcli.MotionResult)
assert_type(driftcli.apply("rec.bin", "motion.h5").corrected_path.name, str)
assert_type(driftcli.correct_peaks("peaks.h5", "motion.h5"), driftcli.PeaksResult)
assert_type(driftcli.simulate("demo", seed=3).truth, driftcli.Truth)
driftcli.run("rec.bin", prob="probe.json")  # wrong
driftcli.run("rec.bin", truncated="maybe")  # wrong
driftcli.detect("rec.bin", split=True)  # wrong
driftcli.estimate("peaks.h5")  # wrong
driftcli.simulate("demo", sed=3)  # wrong
driftcli.nonsense  # wrong
"""


@pytest.mark.skipif(util.find_spec("mypy") is None, reason="mypy is not installed")
def test_types_are_those_that_a_type_checker_sees(tmp_path):
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--cache-dir", ROOT / ".mypy_cache", snippet]
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    lines = SNIPPET.splitlines()
    found = sorted(
        {int(line.split(":")[1]) for line in done.stdout.splitlines() if "snippet.py" in line and "error" in line}
    )
    assert found == [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")], done.stdout
