"""assessment.h5: what is written is read back, and what is none is refused."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import InputError
from driftcli.model import Assessment, Motion, Scores, ShankAssessment
from driftcli.store.assessment import read_assessment, write_assessment

SCORES = Scores(9, 3.0, 0.4, 0.9, 0.5, 0.1, 0.45, 0.12, 1.0, 0.2, 0.5, 0.01, 0.02, 2, 1)
NOTHING_KNOWN = Scores(9, 3.0, None, None, None, None, None, None, None, None, None, 0.0, 0.0, 0, None)
SHA = "ab" * 32


def motion(windows):
    return Motion(np.zeros((4, windows)), np.arange(4.0), np.arange(windows) * 100.0)


def shank(windows, scores=SCORES, known=True):
    errors = np.arange(4.0 * windows).reshape(4, windows) if known else np.full((4, windows), np.nan)
    return ShankAssessment("helps" if known else "unsure", ("because", "µ"), scores, errors, errors / 2)


ASSESSMENT = Assessment("helps", ("shank 0: helps",), {0: shank(2), 7: shank(3, NOTHING_KNOWN, known=False)})
MOTIONS = {0: motion(2), 7: motion(3)}


@pytest.fixture
def path(tmp_path):
    write_assessment(tmp_path / "a.h5", ASSESSMENT, MOTIONS, presets.load("rigid_fast"), SHA)
    return tmp_path / "a.h5"


def test_what_is_written_is_read_back(path):
    file = read_assessment(path)
    assert file.motion_sha256 == SHA
    assert presets.resolve(file.preset) == presets.load("rigid_fast")
    found = file.assessment
    assert (found.verdict, found.reasons, sorted(found.shanks)) == ("helps", ("shank 0: helps",), [0, 7])
    for number, expected in ASSESSMENT.shanks.items():
        ours = found.shanks[number]
        assert (ours.verdict, ours.reasons, ours.scores) == (expected.verdict, expected.reasons, expected.scores)
        np.testing.assert_array_equal(ours.error_um, expected.error_um)
        np.testing.assert_array_equal(ours.residual_um, expected.residual_um)


def test_the_same_assessment_has_the_same_bytes(path, tmp_path):
    write_assessment(tmp_path / "b.h5", ASSESSMENT, MOTIONS, presets.load("rigid_fast"), SHA)
    assert (tmp_path / "b.h5").read_bytes() == path.read_bytes()


def test_an_assessment_of_no_shank_is_one(tmp_path):
    write_assessment(tmp_path / "a.h5", Assessment("unsure", ("none",), {}), {}, presets.load("rigid_fast"), SHA)
    assert read_assessment(tmp_path / "a.h5").assessment == Assessment("unsure", ("none",), {})


def drop(name):
    return lambda file: file["shank0"].attrs.__delitem__(name)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.attrs.__setitem__("verdict", "splendid"), "verdict is none"),
        (lambda file: file.attrs.__setitem__("reasons", "{}"), "reasons are none"),
        (lambda file: file["shank0"].attrs.__setitem__("reasons", "[1]"), "reasons are none"),
        (lambda file: file["shank0"].attrs.__setitem__("gain", np.nan), "gain is no number"),
        (lambda file: file["shank0"].attrs.__setitem__("jumps", 1.5), "jumps is no whole number"),
        (drop("peaks"), "score is missing"),
        (lambda file: file["shank0"]["error_um"].__setitem__((0, 0), np.inf), "errors are not those"),
        (lambda file: file["shank0"].__delitem__("residual_um"), "residual_um"),
        (lambda file: file.attrs.__delitem__("motion_sha256"), "motion_sha256"),
    ],
)
def test_what_is_none_is_refused(path, spoil, told):
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(InputError, match=told):
        read_assessment(path)


def test_errors_on_other_bins_are_refused(tmp_path):
    wrong = replace(ASSESSMENT, shanks={0: shank(3)})
    write_assessment(tmp_path / "a.h5", wrong, MOTIONS, presets.load("rigid_fast"), SHA)
    with pytest.raises(InputError, match="not those of its bins"):
        read_assessment(tmp_path / "a.h5")
