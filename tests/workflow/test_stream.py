"""The chunk stream: every sample comes once, in order, with its margins, whatever the chunks and threads."""

import threading

import numpy as np
import pytest
from scipy.signal import iirfilter, sosfiltfilt

import small_recording
from driftcli import presets
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow.steps import preprocess_steps
from driftcli.workflow.stream import BLOCK_SAMPLES, Stream


class Telling(Reporter):
    def __init__(self):
        self.calls = []

    def progress(self, stage, done, total, recording_s=0.0):
        self.calls.append((stage, done, total, recording_s))


class MovingSum:
    """A step with a margin: the sum over five neighbouring samples."""

    margin_samples = 2

    def __call__(self, traces):
        padded = np.pad(traces, ((2, 2), (0, 0)))
        return sum(padded[k : k + len(traces)] for k in range(5)).astype(np.float32)


def opened(tmp_path, num_samples, num_contacts=3):
    rng = np.random.default_rng(num_samples)
    data = rng.integers(-500, 500, (num_samples, num_contacts)).astype("<i2")
    binary, probe = small_recording.write(tmp_path, data)
    return open_recording(binary, probe=probe, reporter=Reporter()), data


@pytest.mark.parametrize(
    "num_samples", [1, 2, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, BLOCK_SAMPLES + 1, 3 * BLOCK_SAMPLES + 7]
)
def test_blocks_cover_every_sample_once(tmp_path, num_samples):
    recording, _ = opened(tmp_path, num_samples)
    blocks = Stream(recording, [], 0, jobs=1, chunk_s=1.0).blocks()
    assert np.concatenate([np.arange(*block) for block in blocks]).tolist() == list(range(num_samples))
    assert all(start % BLOCK_SAMPLES == 0 for start, _ in blocks)


@pytest.mark.parametrize("chunk_s", [0.01, 0.6, 1.7, 1000.0])
@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_results_come_in_order_and_are_those_of_the_whole(tmp_path, chunk_s, jobs):
    recording, data = opened(tmp_path, 5 * BLOCK_SAMPLES + 11)
    stream = Stream(recording, [MovingSum()], 0, jobs=jobs, chunk_s=chunk_s)

    def take(span):
        piece = stream.piece(*span)
        return piece.traces[piece.first : piece.last].copy()

    telling = Telling()
    got = np.concatenate(list(stream.map(take, stream.blocks(), telling, "stage")))
    whole = np.pad(data.astype(np.float64), ((2, 2), (0, 0)), mode="reflect", reflect_type="odd")
    np.testing.assert_array_equal(got, sum(whole[k : k + len(data)] for k in range(5)))
    assert [call[1] for call in telling.calls] == sorted(call[1] for call in telling.calls)
    assert telling.calls[-1][:3] == ("stage", len(data), len(data))


def test_rows_beyond_the_recording_are_zero_and_the_rest_is_real(tmp_path):
    recording, data = opened(tmp_path, BLOCK_SAMPLES + 100)
    stream = Stream(recording, [], 150, jobs=1, chunk_s=1.0)
    pieces = (stream.piece(*span) for span in stream.blocks())
    first, last = (piece._replace(traces=piece.traces.copy()) for piece in pieces)
    assert not first.traces[:150].any()
    np.testing.assert_array_equal(first.traces[150 : 150 + BLOCK_SAMPLES + 100], data)
    assert not last.traces[-150:].any()
    np.testing.assert_array_equal(last.traces[: 150 + 100], data[BLOCK_SAMPLES - 150 :])
    assert (last.start, last.stop, last.last - last.first) == (BLOCK_SAMPLES, BLOCK_SAMPLES + 100, 100)


def test_an_error_in_a_thread_is_raised_and_ends_the_others(tmp_path):
    recording, _ = opened(tmp_path, 40 * BLOCK_SAMPLES, num_contacts=1)
    stream = Stream(recording, [], 0, jobs=2, chunk_s=0.01)
    seen, lock = [], threading.Lock()

    def fail_at_third(span):
        with lock:
            seen.append(span)
        if span[0] == 2 * BLOCK_SAMPLES:
            raise ArithmeticError("third")
        return span

    with pytest.raises(ArithmeticError, match="third"):
        list(stream.map(fail_at_third, stream.blocks(), Reporter(), "stage"))
    assert len(seen) < 40
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("driftcli")]


def test_seams_between_blocks_are_those_of_the_whole_file(tmp_path):
    """Band-passed block by block or all at once: no more than 0.05 counts apart, seams and ends included."""
    data = small_recording.samples(2 * BLOCK_SAMPLES + 5000, 12)
    binary, probe = small_recording.write(tmp_path, data)
    recording = open_recording(binary, probe=probe, reporter=Reporter())
    steps = preprocess_steps(presets.load(None, ["reference.method=none"]), recording)
    stream = Stream(recording, steps, 0, jobs=2, chunk_s=1.0)
    pieces = (stream.piece(*span) for span in stream.blocks())
    filtered = np.concatenate([piece.traces[piece.first : piece.last].copy() for piece in pieces])
    sections = iirfilter(5, (300.0, 6000.0), fs=small_recording.RATE_HZ, btype="bandpass", ftype="butter", output="sos")
    whole = sosfiltfilt(sections, data.astype(float), axis=0, padlen=2000)
    assert np.abs(filtered - whole).max() <= 0.05


class Doubled:
    """A step that sees each row on its own."""

    margin_samples = 0

    def __call__(self, traces):
        traces *= 2
        return traces


@pytest.mark.parametrize("steps", [[], [Doubled], [MovingSum], [MovingSum, Doubled], [Doubled, MovingSum, Doubled]])
@pytest.mark.parametrize("length", [1, 2047, 2048, 2049, BLOCK_SAMPLES])
def test_tiles_are_the_piece_without_its_margins(tmp_path, steps, length):
    recording, _ = opened(tmp_path, BLOCK_SAMPLES + 5000)
    stream = Stream(recording, [step() for step in steps], 7, jobs=1, chunk_s=1.0)
    start = 5000
    piece = stream.piece(start, start + length)
    expected = piece.traces[piece.first : piece.last].copy()
    tiles, at = [], start
    for tile in stream.tiles(start, start + length):
        assert (tile.start, tile.stop, tile.first, tile.last) == (at, at + len(tile.traces), 0, len(tile.traces))
        tiles.append(tile.traces.copy())
        at = tile.stop
    np.testing.assert_array_equal(np.concatenate(tiles), expected)
    assert len(tiles) == -(-length // 2048)
