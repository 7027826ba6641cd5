import pytest

from driftcli.errors import InputError
from driftcli.recording.formats import FORMATS, described_by, in_words
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter


@pytest.mark.parametrize(
    ("there", "given", "meant"),
    [
        ((), "a.ap.meta", "a.ap.bin"),
        (("a.ap.bin",), "a.ap.meta", "a.ap.bin"),
        (("a.ap.cbin",), "a.ap.meta", "a.ap.cbin"),
        (("a.ap.bin", "a.ap.cbin"), "a.ap.meta", "a.ap.bin"),
        (("a.bin",), "a.ch", "a.cbin"),
        (("a.cbin",), "a.ch", "a.cbin"),
    ],
)
def test_a_file_that_describes_others_names_the_one_to_give(tmp_path, there, given, meant):
    for name in (*there, given):
        (tmp_path / name).write_bytes(b"x")
    assert described_by(tmp_path / given) == tmp_path / meant
    with pytest.raises(InputError) as caught:
        open_recording(tmp_path / given, reporter=Reporter())
    assert caught.value.hint == f"give {meant}"


@pytest.mark.parametrize("name", ["a.bin", "a.cbin", "a.dat", "a"])
def test_files_with_samples_describe_no_others(tmp_path, name):
    assert described_by(tmp_path / name) is None


def test_a_folder_is_told_of_every_format(tmp_path):
    with pytest.raises(InputError) as caught:
        open_recording(tmp_path, reporter=Reporter())
    assert caught.value.hint.endswith(in_words())
    for each in FORMATS:
        assert f"{each.samples} ({each.name})" in caught.value.hint
