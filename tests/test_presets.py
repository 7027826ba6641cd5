"""Presets: what they hold, how they are found, changed and refused."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from driftcli import presets
from driftcli.errors import UsageError

# (localize, estimate, radius_um of detect) of SpikeInterface 0.105.3's motion presets
PEER = {
    "dredge": ("monopolar_triangulation", "dredge_ap", 80.0),
    "dredge_fast": ("grid_convolution", "dredge_ap", 80.0),
    "kilosort_like": ("grid_convolution", "iterative_template", 50.0),
    "nonrigid_accurate": ("monopolar_triangulation", "decentralized", 80.0),
    "nonrigid_fast_and_accurate": ("grid_convolution", "decentralized", 80.0),
    "rigid_fast": ("center_of_mass", "dredge_ap", 75.0),
}
NAMES = [*PEER, "likelihood"]  # there may be others


def test_the_presets_are_those_promised():
    assert set(NAMES) <= set(presets.names())
    assert presets.names() == sorted(presets.names())
    assert presets.DEFAULT_PRESET in NAMES
    assert all(len(presets.doc(name)) > 20 for name in presets.names())


@pytest.mark.parametrize("name", PEER)
def test_a_preset_has_the_peers_methods_and_keeps_the_channels(name):
    settings = presets.load(name).to_dict()
    localize, estimate, radius_um = PEER[name]
    assert settings["localize"]["method"] == localize
    assert settings["estimate"]["method"] == estimate
    detect = {"method": "locally_exclusive", "peak_sign": "neg", "detect_threshold": 8.0, "exclude_sweep_ms": 0.8}
    assert settings["detect"] == {**detect, "radius_um": radius_um}
    assert settings["shift"] == {"method": "phase_shift"}
    assert settings["filter"] == {"method": "bandpass", "freq_min_hz": 300.0, "freq_max_hz": 6000.0, "order": 5}
    assert settings["bad_channels"]["method"] == "coherence_psd"
    assert settings["mask"]["method"] == "automatic"
    kriging = {"method": "kriging", "sigma_um": 20.0, "p": 2, "border_mode": "force_extrapolate", "time": "nearest_bin"}
    assert settings["interpolate"] == {**kriging, "bad_channels": "interpolate"}
    assert settings["apply"] == {"signal": "preprocessed"}


def test_the_default_preset_has_what_is_driftclis_own():
    settings, peer = presets.load().to_dict(), presets.load("dredge_fast").to_dict()
    assert settings["estimate"]["method"] == "likelihood"
    interpolate = {"method": "fitted_gaussian_process", "border_mode": "force_extrapolate", "time": "linear"}
    assert interpolate.items() <= settings["interpolate"].items()
    own = ("estimate", "interpolate")
    assert {stage: settings[stage] for stage in settings if stage not in own} == {
        stage: peer[stage] for stage in peer if stage not in own
    }


def test_values_that_set_presets_apart():
    rigid = presets.load("rigid_fast").to_dict()["estimate"]
    assert (rigid["rigid"], rigid["bin_s"]) == (True, 5.0)
    kilosort = presets.load("kilosort_like").to_dict()
    assert kilosort["localize"]["weight_method"]["sigma_list_um"] == [5.0, 10.0, 15.0, 20.0, 25.0]
    values = {"bin_s": 2.0, "win_step_um": 200.0, "win_scale_um": 400.0, "win_shape": "rect", "hist_margin_um": 0.0}
    assert values.items() <= kilosort["estimate"].items()
    for name in ("dredge", "dredge_fast"):
        assert {"win_step_um": 400.0, "win_scale_um": 400.0}.items() <= presets.load(name).to_dict()["estimate"].items()


def test_a_resolved_preset_resolves_to_itself_and_survives_yaml():
    settings = presets.load("kilosort_like").to_dict()
    assert presets.resolve(settings).to_dict() == settings
    text = presets.to_yaml(presets.load("kilosort_like"), "a doc")
    assert yaml.safe_load(text) == {"doc": "a doc", **settings}


def test_set_changes_one_value_whatever_the_order():
    changes = ["estimate.bin_s=0.5", "estimate.method=decentralized", "detect.detect_threshold=6"]
    for order in (changes, changes[::-1]):
        settings = presets.load("rigid_fast", order).to_dict()
        assert settings["estimate"]["method"] == "decentralized"
        assert settings["estimate"]["bin_s"] == 0.5
        assert settings["detect"]["detect_threshold"] == 6


def test_another_method_drops_the_old_ones_parameters():
    assert "radius_um" in presets.load("rigid_fast").to_dict()["detect"]
    assert "radius_um" not in presets.load("rigid_fast", ["detect.method=by_channel"]).to_dict()["detect"]
    same = presets.load("rigid_fast", ["estimate.method=dredge_ap"]).to_dict()
    assert same == presets.load("rigid_fast").to_dict()


def test_set_reaches_into_nested_values_without_touching_the_preset():
    changed = presets.load("kilosort_like", ["localize.weight_method.sigma_list_um=[3, 9]"]).to_dict()
    assert changed["localize"]["weight_method"] == {
        **presets.load("kilosort_like").to_dict()["localize"]["weight_method"],
        "sigma_list_um": [3.0, 9.0],
    }


def test_another_mode_drops_the_old_ones_parameters():
    changed = presets.load("kilosort_like", ["localize.weight_method.mode=exponential_3d"]).to_dict()
    assert changed["localize"]["weight_method"]["mode"] == "exponential_3d"


def test_stages_can_be_switched_off():
    settings = presets.load(None, ["shift.method=none", "filter.method=none", "reference.method=none"]).to_dict()
    assert settings["shift"] == settings["filter"] == settings["reference"] == {"method": "none"}


def test_a_preset_file_takes_part(tmp_path: Path):
    file = tmp_path / "my.yaml"
    file.write_text("doc: mine\nestimate: {method: iterative_template, bin_s: 4}\n")
    settings = presets.load(str(file)).to_dict()
    assert settings["estimate"]["bin_s"] == 4
    assert settings["interpolate"]["method"] == "kriging"
    assert settings["shift"]["method"] == "phase_shift"


@pytest.mark.parametrize(
    ("preset", "change", "words"),
    [
        ("rigid_fats", None, ["no preset 'rigid_fats'", "'rigid_fast'"]),
        (None, "estmate.bin_s=1", ["no stage 'estmate'", "'estimate'"]),
        (None, "estimate.bin_sec=1", ["no key 'bin_sec'", "'bin_s'"]),
        (None, "estimate.method=dredge", ["no method 'dredge'", "'dredge_ap'"]),
        (None, "detect.peak_sign=down", ["detect", "peak_sign", "'down'"]),
        (None, "detect.detect_threshold=-1", ["detect_threshold = -1"]),
        (None, "detect.detect_threshold=.nan", ["detect_threshold"]),
        (None, "apply.signal=filtered", ["apply", "signal", "'filtered'"]),
        (None, "apply.sgnal=raw", ["no key 'sgnal'", "'signal'"]),
        (None, "filter.freq_min=300", ["no key 'freq_min'", "'freq_min_hz'"]),
        (None, "bin_s=1", ["stage.key=value"]),
        (None, "estimate.bin_s", ["stage.key=value"]),
        (None, "estimate.bin_s=[", ["can't be read"]),
        (None, "filter.method=3", ["no method 3"]),
        ("kilosort_like", "localize.weight_method.sigmaa=3", ["no key", "sigmaa"]),
        ("kilosort_like", "localize.weight_method.z_list_um=[1]", ["no key", "z_list_um"]),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest_known(preset, change, words):
    with pytest.raises(UsageError) as caught:
        presets.load(preset, [change] if change else [])
    assert caught.value.hint
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "estimate: 3\n", "estimate: {bin_s: [\n", "a: !!python/object:os.x {}\n", "1: {}\n"]
)
def test_a_preset_file_that_is_none_is_refused(tmp_path: Path, text):
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(UsageError):
        presets.load(str(file))


def test_a_missing_preset_file_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="does not exist"):
        presets.load(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("estimate: &a {bin_s: 1}\n", "line 1 holds an anchor"),
        ("estimate:\n  bin_s: *a\n", "line 2 holds an anchor or an alias"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "anchor"),
        ("estimate: {bin_s: 1, bin_s: 2}\n", "holds the key 'bin_s' twice"),
        ("estimate: {bin_s: 1}\nmask: {}\nestimate: {}\n", "line 3 holds the key 'estimate' twice"),
        ("estimate: {bin_s: !!float 1}\n", "a tag"),
        ("estimate: !!python/object/apply:os.system ['touch hacked']\n", "a tag"),
        ("estimate: " + "[" * 100_000, "levels"),
        ("estimate: " + "{a: " * 100_000, "levels"),
        ("estimate:\n" + "".join(" " * n + "a:\n" for n in range(1, 900)), "levels"),
        ("estimate: {bin_s: [" + "1, " * 200_000 + "]}\n", "more values"),
        ("estimate: {bin_s: 1" + ":59" * 300_000 + "}\n", "characters"),
        ("doc: " + "x" * 1_000_000, "longer than 1,000,000 bytes"),
        ("estimate: {bin_s: 0x_}\n", "can't be read"),
        ("estimate: {bin_s: 2001-99-99}\n", "can't be read"),
        ("estimate: {bin_s: " + "9" * 1_900 + "}\n", "bin_s"),
        ("? [a, b]\n: 1\n", "can't be read"),
        ("estimate: {method: ../../evil}\n", "has no method '../../evil'"),
        ("estimate: {method: os}\n", "has no method 'os'"),
        ("estimate: {method: [dredge_ap]}\n", "has no method"),
        ("estimate: {1: 2}\n", "estimate"),
        ("../../x: {a: 1}\n", "there is no stage '../../x'"),
    ],
)
def test_hostile_preset_files_are_refused_soon(tmp_path: Path, text, words):
    file = tmp_path / "p.yaml"
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(UsageError, match=words) as caught:
        presets.load(str(file))
    assert time.process_time() - began < 2
    assert len(caught.value.message) < 3000


@pytest.mark.parametrize(
    "change", ["*a", "&a 1", "!!python/name:os.system", "[" * 9000, "{a: 1, a: 2}", "0b_", "1" * 9999]
)
def test_hostile_changes_are_refused(change):
    with pytest.raises(UsageError) as caught:
        presets.load(None, [f"estimate.bin_s={change}"])
    assert caught.value.hint
    assert len(caught.value.message) < 3000


def test_changes_do_not_go_deeper_than_presets():
    with pytest.raises(UsageError, match="not of the form"):
        presets.load(None, ["estimate." + "a." * 5000 + "b=1"])


@pytest.mark.parametrize("name", ["\0", "\0.yaml", "../rigid_fast", "/dev/zero.yaml", "x" * 9000, "x" * 9000 + ".yaml"])
def test_names_that_are_no_file_are_refused(name):
    with pytest.raises(UsageError):
        presets.load(name)


def test_a_file_without_end_is_not_read_to_the_end():
    with pytest.raises(UsageError, match="longer than"):
        presets.load("/dev/zero")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_of_a_preset_can_be_read_again(tmp_path: Path, name):
    (tmp_path / "p.yaml").write_text(presets.to_yaml(presets.load(name), presets.doc(name)))
    assert presets.load(str(tmp_path / "p.yaml")).to_dict() == presets.load(name).to_dict()


SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=20)
KEYS = st.text(max_size=10)
TREES = st.dictionaries(KEYS, st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4), max_size=4)


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_plain_yaml_is_read_as_it_was_meant(tree):
    text = yaml.safe_dump(tree, allow_unicode=True)
    assert presets._parse(text) == yaml.safe_load(text)
