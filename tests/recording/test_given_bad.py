"""Channels that the user calls bad, by the number they were acquired with or by column."""

from dataclasses import replace

import numpy as np
import pytest

import make_raw
import make_spikeglx
from driftcli.errors import UsageError
from driftcli.model import CONTACT_LABELS
from driftcli.recording.given_bad import with_bad_channels
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter

EXCLUDED = CONTACT_LABELS.index("excluded")


@pytest.fixture
def raw(tmp_path):
    """Contacts 0 to 5 on columns 5 to 0."""
    (tmp_path / "rec.bin").write_bytes(make_raw.counts(100, 6).tobytes())
    probe = make_raw.write_line_probe(tmp_path / "probe.json", 6, wiring=[5, 4, 3, 2, 1, 0])
    return open_recording(tmp_path / "rec.bin", probe=probe, reporter=Reporter())


@pytest.mark.parametrize(
    ("text", "columns"),
    [("2", [2]), ("0,5", [0, 5]), ("1:3", [1, 2, 3]), (" 1-2 , 4", [1, 2, 4]), ("4:99", [4, 5]), ("3,3:4", [3, 4])],
)
def test_raw_channels_are_called_by_column(raw, text, columns):
    labels = with_bad_channels(raw, text).labels
    assert sorted(raw.columns[labels == EXCLUDED].tolist()) == columns
    assert set(labels[labels != EXCLUDED].tolist()) <= {0}


def test_nothing_said_changes_nothing(raw):
    assert with_bad_channels(raw, None) is raw


@pytest.mark.parametrize(
    "text", ["", "a", "1;2", "1:", ":3", "-1", "1.5", "6", "9:12", "3:1", "1,,2", "99999999999999"]
)
def test_what_is_no_channel_is_refused(raw, text):
    with pytest.raises(UsageError, match="--bad-channels"):
        with_bad_channels(raw, text)


def test_other_labels_stay(raw):
    known = replace(raw, labels=np.array([4, 0, 0, 0, 0, 0], np.uint8))
    assert with_bad_channels(known, "0").labels.tolist() == [4, 0, 0, 0, 0, EXCLUDED]
    assert known.labels.tolist() == [4, 0, 0, 0, 0, 0]


def test_channels_of_spikeglx_are_called_by_the_number_they_were_acquired_with(tmp_path):
    text = make_spikeglx.with_values(make_spikeglx.made_meta("NP1"), snsSaveChanSubset="100:147,768")
    text = make_spikeglx.with_values(text, **{"snsChanMap": None, "snsShankMap": None})
    path = make_spikeglx.make_spikeglx(tmp_path, text)
    recording = open_recording(path, bad_channels="100,145:200", reporter=Reporter())
    assert recording.columns[recording.labels == EXCLUDED].tolist() == [0, 45, 46, 47]
    with pytest.raises(UsageError, match="100 to 147"):
        open_recording(path, bad_channels="0", reporter=Reporter())
