"""The chunk stream: the one place that cuts a recording into pieces and puts the pieces' results in order.

Work runs on a fixed grid of blocks counted from sample 0. The block length is a constant, the margins follow from the
preset; neither is an option: a forward-backward filter has no finite end, so its numbers depend on where a block
begins. Chunks and threads only group whole blocks, and thus never change a result.

Where a recording breaks, as another file begins that was not recorded right after the one before, the grid starts anew
and no margin reaches across: each stretch gives what it would give by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from driftcli.recording.convert import to_traces
from driftcli.recording.recording import Recording
from driftcli.recording.writer import DIRECT_BYTES
from driftcli.reporter import Reporter

BLOCK_SAMPLES = 16_384
_TILE_SAMPLES = 2_048  # what several stages do one after the other while it is in the cache

Result = TypeVar("Result")
Span = tuple[int, int]


class Step(Protocol):
    """A stage that changes traces: how many samples it needs on either side, and what it does."""

    margin_samples: int

    def __call__(self, traces: NDArray[np.float32]) -> NDArray[np.float32]: ...


Watch = Callable[[NDArray[Any], int, NDArray[np.float32], int], Any]


class Piece(NamedTuple):
    """Preprocessed traces of a span, with margins or none: rows first <= row < last are samples start <= n < stop.

    The array is used again for the thread's next piece: results must not hold on to it.
    seen: what the stream's `watch` gave for the span.
    """

    traces: NDArray[np.float32]
    first: int
    last: int
    start: int
    stop: int
    seen: Any = None


class Scratch(threading.local):
    """Arrays that a thread fills again and again; new ones of their size would cost new pages of memory each time.

    They begin where direct writes may.
    """

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, int], dtype: DTypeLike) -> NDArray[Any]:
        """The thread's array of that name, of any content."""
        size = shape[0] * shape[1] * np.dtype(dtype).itemsize
        if name not in self._kept or self._kept[name].size < size:
            room = np.empty(size + DIRECT_BYTES, np.uint8)
            self._kept[name] = room[-room.ctypes.data % DIRECT_BYTES :]
        return self._kept[name][:size].view(dtype).reshape(shape)


def blocks_of(num_samples: int, breaks: NDArray[np.int64]) -> list[Span]:
    """The fixed grid: (start, stop) of every block of a recording."""
    return [
        (start, min(start + BLOCK_SAMPLES, last))
        for first, last in pairwise([0, *breaks.tolist(), num_samples])
        for start in range(first, last, BLOCK_SAMPLES)
    ]


class Stream:
    """Hands out preprocessed pieces of a recording and runs work over them in threads.

    margin_samples: rows that the work itself needs on either side of a block, beyond those of the steps. Beyond the
    ends of the recording, and beyond breaks, these rows are zero.
    watch: looks at each span before the last steps, those that see each row on its own: is given the samples of the
    file with the margins there are, the row of them that the span begins with, the traces of the span and its start.
    """

    def __init__(
        self,
        recording: Recording,
        steps: Sequence[Step],
        margin_samples: int,
        *,
        jobs: int,
        chunk_s: float,
        watch: Watch | None = None,
    ) -> None:
        self.recording = recording
        self._step_margin = sum(step.margin_samples for step in steps)
        wide = [index for index, step in enumerate(steps) if step.margin_samples]
        # the last steps may see each row on its own
        self._steps, self._row_steps = (steps[: wide[-1] + 1], steps[wide[-1] + 1 :]) if wide else ([], steps)
        self._margin = margin_samples
        self._watch = watch
        self._jobs = jobs
        self._scratch = Scratch()
        self._chunk_blocks = max(1, round(chunk_s * recording.sampling_frequency_hz / BLOCK_SAMPLES))
        self._bounds = np.concatenate([[0], recording.breaks, [recording.num_samples]])

    def blocks(self) -> list[Span]:
        """The fixed grid: (start, stop) of every block of the recording."""
        return blocks_of(self.recording.num_samples, self.recording.breaks)

    def unbroken(self, span: Span) -> Span:
        """The longest part of a span that holds no break."""
        cuts = [span[0], *(cut for cut in self._bounds.tolist() if span[0] < cut < span[1]), span[1]]
        return max(pairwise(cuts), key=lambda part: part[1] - part[0])

    def piece(self, start: int, stop: int) -> Piece:
        """Read a span with its margins once, convert it and run the steps."""
        traces, samples, before, after = self._read(start, stop)
        margin = self._step_margin + self._margin
        first, last = margin, margin + stop - start
        seen = None if self._watch is None else self._watch(samples, margin - before, traces[first:last], start)
        for step in self._row_steps:
            traces = step(traces)
        traces[:before] = 0
        traces[len(traces) - after :] = 0
        return Piece(traces, first, last, start, stop, seen)

    def tiles(self, start: int, stop: int) -> Iterator[Piece]:
        """The same, without margins, in pieces that are small enough to stay in the processor's cache."""
        traces, _, _, _ = self._read(start, stop)
        margin = self._step_margin + self._margin
        for low in range(start, stop, _TILE_SAMPLES):
            high = min(low + _TILE_SAMPLES, stop)
            tile = traces[margin + low - start : margin + high - start]
            for step in self._row_steps:
                tile = step(tile)
            yield Piece(tile, 0, high - low, low, high)

    def _read(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[Any], int, int]:
        """Traces of a span with margins after the steps that need some, the samples that they are of, and how many rows
        lie before and after the stretch without a break that holds the span."""
        margin = self._step_margin + self._margin
        first, last = self._bounds[np.searchsorted(self._bounds, start, side="right") - 1 :][:2].tolist()
        low, high = max(first, start - margin), min(last, stop + margin)
        before, after = low - (start - margin), (stop + margin) - high
        recording = self.recording
        out = self._scratch.array("traces", (stop - start + 2 * margin, len(recording.columns)), np.float32)
        samples, columns, gain = recording.read(low, high), recording.columns, recording.gain_to_uv
        traces = to_traces(samples, columns, gain, before, after, low, out)
        for step in self._steps:
            traces = step(traces)
        return traces, samples, before, after

    def map(
        self, work: Callable[[Span], Result], spans: Sequence[Span], reporter: Reporter, stage: str
    ) -> Generator[Result, None, None]:
        """Run `work` over all spans in threads and yield its results in order of the spans.

        Each thread takes a chunk of spans at a time; only a few chunks are under way at once. When the caller stops
        early or an exception strikes, threads end with the block they are at. An exception may strike outside of the
        generator, too: where threads use what ends with the caller, `closing` it has them end first.
        """
        if not spans:
            return
        stop = threading.Event()
        progress = _Progress(reporter, stage, self.recording.sampling_frequency_hz, spans)
        chunks = (spans[i : i + self._chunk_blocks] for i in range(0, len(spans), self._chunk_blocks))

        at_work = _AtWork()

        def run(chunk: Sequence[Span]) -> list[Result]:
            results = []
            with at_work:
                for span in chunk:
                    if stop.is_set():
                        break
                    results.append(work(span))
                    progress.add(span)
            return results

        with ThreadPoolExecutor(self._jobs, thread_name_prefix="driftcli") as pool:
            try:
                for results in _in_order(pool, run, chunks, self._jobs + 1):
                    yield from results
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
                at_work.wait()


def _in_order(
    pool: ThreadPoolExecutor,
    run: Callable[[Sequence[Span]], list[Result]],
    chunks: Iterable[Sequence[Span]],
    most: int,
) -> Iterator[list[Result]]:
    waiting: deque[Future[list[Result]]] = deque()
    for chunk in chunks:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(run, chunk))
    while waiting:
        yield waiting.popleft().result()


class _AtWork:
    """Counts the threads that are at a chunk. A pool does not know of a thread that it was just starting when a signal
    struck, and would not wait for it."""

    def __init__(self) -> None:
        self._count, self._changed = 0, threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Until none is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._count)


class _Progress:
    """Counts samples done by all threads."""

    def __init__(self, reporter: Reporter, stage: str, sampling_frequency_hz: float, spans: Sequence[Span]) -> None:
        self._reporter, self._stage, self._rate_hz = reporter, stage, sampling_frequency_hz
        self._total = sum(stop - start for start, stop in spans)
        self._done = 0
        self._lock = threading.Lock()
        reporter.progress(stage, 0, self._total)

    def add(self, span: Span) -> None:
        with self._lock:
            self._done += span[1] - span[0]
            self._reporter.progress(self._stage, self._done, self._total, self._done / self._rate_hz)
