"""Probes: from files to contacts on columns, and back to a file for an output."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from probeinterface import read_probeinterface

from driftcli.errors import InputError, OutputError
from driftcli.recording.open import open_recording
from driftcli.recording.probe import lay_out, read_probe, require_fit, write_probe
from make_raw import column_of_contacts, counts, probe_dict, write_json_probe, write_line_probe

TWO_GROUPS = """
channel_groups = {
    0: {"channels": [3, 1, 0], "geometry": {3: (0, 0), 1: (16, 20), 0: (0, 40)}},
    1: {"channels": list(range(4, 6)), "geometry": {4: (0, 5), 5: (0, 25)}},
}
"""


def layout_of(path, reporter):
    return lay_out(read_probe(path), path.name, reporter)


def test_contacts_come_in_the_order_of_the_probe_without_unconnected_ones(tmp_path, reporter):
    probe = probe_dict([(0, 0), (5, 10), (0, 20), (5, 30)], wiring=[2, -1, 0, 3])
    layout = layout_of(write_json_probe(tmp_path / "p.json", probe), reporter)
    np.testing.assert_array_equal(layout.geometry.positions_um, [[0, 0], [0, 20], [5, 30]])
    np.testing.assert_array_equal(layout.columns, [2, 0, 3])
    assert layout.columns.dtype == np.int64
    assert (layout.num_contacts, layout.num_wired_columns) == (4, 4)
    assert reporter.texts == []


def test_prb_groups_are_separate_shanks(tmp_path, reporter):
    (tmp_path / "p.prb").write_text(TWO_GROUPS)
    layout = layout_of(tmp_path / "p.prb", reporter)
    np.testing.assert_array_equal(layout.geometry.positions_um, [[0, 0], [16, 20], [0, 40], [0, 5], [0, 25]])
    np.testing.assert_array_equal(layout.geometry.shanks, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(layout.columns, [3, 1, 0, 4, 5])


def test_without_wiring_contacts_are_columns_and_this_is_said(tmp_path, reporter):
    layout = layout_of(write_json_probe(tmp_path / "p.json", probe_dict(column_of_contacts(3))), reporter)
    np.testing.assert_array_equal(layout.columns, [0, 1, 2])
    assert "contact i to be column i" in str(reporter)


@pytest.mark.parametrize(
    ("shank_ids", "expected"),
    [
        (["0", "0", "1", "1"], [0, 0, 1, 1]),
        (["2", "10", "2", "1"], [1, 2, 1, 0]),
        (["b", "a", "b", "a"], [1, 0, 1, 0]),
        (["", "", "", ""], [0, 0, 0, 0]),
        (["9" * 5000, "2", "10", "a"], [2, 0, 1, 3]),
        (None, [0, 0, 0, 0]),
    ],
)
def test_shanks_are_numbered_from_0_in_the_order_of_their_ids(tmp_path, reporter, shank_ids, expected):
    probe = probe_dict(column_of_contacts(4), range(4), shank_ids)
    layout = layout_of(write_json_probe(tmp_path / "p.json", probe), reporter)
    np.testing.assert_array_equal(layout.geometry.shanks, expected)


def test_shanks_of_several_probes_are_separate(tmp_path, reporter):
    first = probe_dict(column_of_contacts(4), range(4), ["0", "0", "1", "1"])
    second = probe_dict(column_of_contacts(2), [4, 5], ["0", "0"])
    layout = layout_of(write_json_probe(tmp_path / "p.json", first, second), reporter)
    np.testing.assert_array_equal(layout.geometry.shanks, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(layout.columns, range(6))


@pytest.mark.parametrize(("unit", "factor"), [("um", 1), ("mm", 1e3), ("m", 1e6)])
def test_positions_are_converted_to_um(tmp_path, reporter, unit, factor):
    path = write_json_probe(tmp_path / "p.json", probe_dict([(1, 2), (3, 4)], [0, 1], si_units=unit))
    np.testing.assert_allclose(
        layout_of(path, reporter).geometry.positions_um, np.array([[1, 2], [3, 4]]) * factor, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([(0, 1, 7), (2, 3, 7)], [[0, 1], [2, 3]]),
        ([(0, 7, 1), (2, 7, 3)], [[0, 1], [2, 3]]),
        ([(7, 0, 1), (7, 2, 3)], [[0, 1], [2, 3]]),
        ([(7, 0, 0), (7, 2, 0)], [[7, 0], [7, 2]]),
    ],
)
def test_contacts_in_a_plane_of_space_are_laid_into_it(tmp_path, reporter, positions, expected):
    path = write_json_probe(tmp_path / "p.json", probe_dict(positions, [0, 1]))
    np.testing.assert_array_equal(layout_of(path, reporter).geometry.positions_um, expected)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (probe_dict([(0, 0, 0), (1, 1, 0), (2, 2, 1)], range(3)), "in three dimensions"),
        (probe_dict(column_of_contacts(3), [-1, -1, -1]), "none of the 3 contacts"),
        (probe_dict(column_of_contacts(3), [0, 1, -2]), "wires column -2 which is no column"),
        (probe_dict([(0, 0), (0, float("nan"))], [0, 1]), "without a position"),
        (probe_dict(column_of_contacts(2), [0, 1], si_units="inch"), "cannot read the probe|positions in 'inch'"),
        (probe_dict(column_of_contacts(3), [0, 1, 1]), "wires column 1 twice|not unique"),
    ],
)
def test_probes_that_cannot_be_used(tmp_path, reporter, probe, message):
    with pytest.raises(InputError, match=message) as caught:
        layout_of(write_json_probe(tmp_path / "p.json", probe), reporter)
    assert caught.value.hint


def test_wiring_must_be_unique_across_probes_and_set_for_all(tmp_path, reporter):
    first, second = probe_dict(column_of_contacts(2), [0, 1]), probe_dict(column_of_contacts(2), [1, 2])
    with pytest.raises(InputError, match=r"not unique|twice"):
        layout_of(write_json_probe(tmp_path / "p.json", first, second), reporter)
    silent = probe_dict(column_of_contacts(2))
    with pytest.raises(InputError, match="only some of the probes"):
        layout_of(write_json_probe(tmp_path / "p.json", first, silent), reporter)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", "{"),
        ("p.json", "[1, 2]"),
        ("p.json", '{"probes": [{"ndim": 2}]}'),
        ("p.json", '{"probes": []}'),
        ("p.prb", "channel_groups = {"),
        ("p.prb", "x = 1"),
        ("p.csv", "x,y\n0,1\n"),
        ("p.json", "\xff\xfe binary"),
    ],
)
def test_broken_probe_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=rf"the probe .*{name}") as caught:
        read_probe(tmp_path / name)
    assert "probeinterface JSON" in caught.value.hint


def test_a_probe_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no probe file"):
        read_probe(tmp_path / "p.json")


def test_a_probe_with_more_channels_than_the_file(tmp_path, reporter):
    layout = layout_of(write_line_probe(tmp_path / "p.json", 8), reporter)
    require_fit(layout, 8, "p.json", "rec.bin")
    with pytest.raises(InputError, match=r"p.json has more channels than rec.bin: it wires column 7 of 7"):
        require_fit(layout, 7, "p.json", "rec.bin")


@pytest.fixture
def two_probes(tmp_path, reporter):
    """A recording of 7 columns with contacts of two probes on 5 of them, in an order of their own."""
    first = probe_dict([(0, 0), (0, 20), (0, 40)], [4, -1, 2], ["0", "0", "1"], annotations={"name": "A"})
    second = probe_dict([(9, 0), (9, 20), (9, 40)], [0, 6, 5], annotations={"name": "B"})
    probe = write_json_probe(tmp_path / "p.json", first, second)
    (tmp_path / "rec.bin").write_bytes(counts(100, 7).tobytes())
    return open_recording(tmp_path / "rec.bin", probe=probe, num_channels=7, reporter=reporter)


def test_the_probe_of_an_output_is_rewired_to_its_columns(two_probes, tmp_path, reporter):
    kept, columns = np.array([0, 1, 3]), np.array([2, 0, 1])
    write_probe(tmp_path / "out.json", two_probes, kept, columns)
    written = read_probe(tmp_path / "out.json")
    layout = lay_out(written, "out.json", reporter)
    np.testing.assert_array_equal(layout.geometry.positions_um, two_probes.geometry.positions_um[kept])
    np.testing.assert_array_equal(layout.geometry.shanks, two_probes.geometry.shanks[kept])
    np.testing.assert_array_equal(layout.columns, columns)
    assert [probe.annotations["name"] for probe in written.probes] == ["A", "B"]
    assert [list(probe.contact_ids) for probe in written.probes] == [["e0", "e2"], ["e1"]]


def test_a_probe_without_kept_contacts_is_left_out(two_probes, tmp_path):
    write_probe(tmp_path / "out.json", two_probes, np.array([2, 3, 4]), np.array([0, 1, 2]))
    (probe,) = read_probeinterface(tmp_path / "out.json").probes
    assert probe.annotations["name"] == "B"


def test_a_probe_without_wiring_gets_one(tmp_path, reporter):
    probe = write_json_probe(tmp_path / "p.json", probe_dict(column_of_contacts(3)))
    (tmp_path / "rec.bin").write_bytes(counts(10, 3).tobytes())
    recording = open_recording(tmp_path / "rec.bin", probe=probe, reporter=reporter)
    write_probe(tmp_path / "out.json", recording, np.array([0, 2]), np.array([0, 1]))
    (written,) = read_probeinterface(tmp_path / "out.json").probes
    np.testing.assert_array_equal(written.device_channel_indices, [0, 1])
    np.testing.assert_array_equal(written.contact_positions, [[0, 0], [0, 40]])


def test_the_same_probe_gives_the_same_bytes_and_replaces_the_old_file(two_probes, tmp_path):
    (tmp_path / "b.json").write_text("old")
    for name in ("a.json", "b.json"):
        write_probe(tmp_path / name, replace(two_probes), np.arange(5), np.arange(5))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert str(tmp_path) not in (tmp_path / "a.json").read_text()


def test_a_probe_cannot_be_written_where_there_is_no_folder(two_probes, tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        write_probe(Path(tmp_path / "absent" / "p.json"), two_probes, np.arange(5), np.arange(5))


@pytest.mark.parametrize(
    ("wiring", "words"),
    [
        ([0, 1, True], "device_channel_indices hold True"),
        ([0, 1, "2"], "device_channel_indices hold '2'"),
        ([0, 1, 1.5], "device_channel_indices hold 1.5"),
        ([0, 1, None], "device_channel_indices hold None"),
        ([0, 1, [2]], r"device_channel_indices hold \[2\]"),
        ([0, 1, 10**18], "device_channel_indices hold 1000000000000000000"),
        ([0, 1, 10**400], "device_channel_indices hold 1000"),
        ([0, 1, float("nan")], "device_channel_indices hold nan"),
        ("012", "no list of device_channel_indices"),
        ([0, 1], "cannot read the probe"),
    ],
)
def test_wiring_that_is_no_wiring_is_refused(tmp_path, wiring, words):
    probe = probe_dict(column_of_contacts(3)) | {"device_channel_indices": wiring}
    with pytest.raises(InputError, match=words) as caught:
        read_probe(write_json_probe(tmp_path / "p.json", probe))
    assert caught.value.hint


def test_whole_numbers_may_be_written_as_others_do(tmp_path, reporter):
    probe = probe_dict(column_of_contacts(3)) | {"device_channel_indices": [0.0, 2.0, 1.0]}
    layout = layout_of(write_json_probe(tmp_path / "p.json", probe), reporter)
    np.testing.assert_array_equal(layout.columns, [0, 2, 1])


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([[0, 0], [0, 1e300]], "no probe is as long"),
        ([[0, 0], [0, float("inf")]], "without a position"),
        ([[0, 0], [0, True]], "not lists of numbers"),
        ([[0, 0], [0, "1"]], "not lists of numbers"),
        ([[0, 0], [0, 10**400]], "cannot read the probe"),
        ([[0, 0], [0]], "cannot read the probe"),
        ([[0, 0], 7], "not lists of numbers"),
        ([[0, 0]] * 70_000, "70000 contacts, more than any probe"),
    ],
)
def test_positions_that_are_none_are_refused(tmp_path, reporter, positions, words):
    probe = probe_dict(column_of_contacts(2), [0, 1]) | {"contact_positions": positions}
    with pytest.raises(InputError, match=words) as caught:
        layout_of(write_json_probe(tmp_path / "p.json", probe), reporter)
    assert caught.value.hint


@pytest.mark.parametrize(
    "content", ["[" * 200_000, '{"probes": ' * 200_000, '{"probes": [' + "9" * 5000 + "]}", "null"]
)
def test_json_that_is_no_probe_is_refused(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError, match="cannot read the probe"):
        read_probe(tmp_path / "p.json")


def test_probes_that_their_ids_would_hide_are_refused(tmp_path):
    tree = {"specification": "probeinterface", "probes": [probe_dict([(0, 0)], [0])] * 2, "probe_ids": ["a"]}
    (tmp_path / "p.json").write_text(json.dumps(tree))
    with pytest.raises(InputError, match="probe_ids"):
        read_probe(tmp_path / "p.json")


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    with (tmp_path / "p.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="longer than"):
        read_probe(tmp_path / "p.json")


def test_a_unit_of_any_length_is_told_in_short(tmp_path, reporter):
    path = write_json_probe(tmp_path / "p.json", probe_dict(column_of_contacts(2), [0, 1], si_units="um" * 5000))
    with pytest.raises(InputError, match="positions in 'umum") as caught:
        layout_of(path, reporter)
    assert len(caught.value.message) < 200


def test_names_in_a_probe_are_nothing_but_data(tmp_path, reporter):
    """They go to the probe of the output as they are, and never name a file."""
    names = {"name": "../../evil", "model_name": "/etc/passwd", "manufacturer": "\x1b[2J"}
    probe = probe_dict(column_of_contacts(2), [0, 1], annotations=names, contact_ids=["../a", "/b"])
    path = write_json_probe(tmp_path / "p.json", probe)
    (tmp_path / "rec.bin").write_bytes(counts(100, 2).tobytes())
    recording = open_recording(tmp_path / "rec.bin", probe=path, reporter=reporter)
    (tmp_path / "out").mkdir()
    write_probe(tmp_path / "out/probe.json", recording, np.array([0, 1]), np.array([0, 1]))
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["out", "p.json", "probe.json", "rec.bin"]
    assert read_probe(tmp_path / "out/probe.json").probes[0].annotations["name"] == "../../evil"
