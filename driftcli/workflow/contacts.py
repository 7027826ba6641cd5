"""What is wrong with which contacts: as the meta says, as the user says, and as the data say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.model import CONTACT_LABELS, GOOD, Settings
from driftcli.preprocess.noise import noise_slices
from driftcli.recording.recording import Recording
from driftcli.workflow.stream import Span, Stream
from driftcli.workflow.work import Work

_MOST_TOLD = 20
_FOUND = [CONTACT_LABELS.index(name) for name in ("dead", "noisy", "out_of_brain")]


def labels_of(
    recording: Recording,
    settings: Settings,
    work: Work,
    known: NDArray[np.uint8] | None = None,
    look: bool = True,
) -> NDArray[np.uint8]:
    """(C,) what is wrong with each contact, indices of `CONTACT_LABELS`.

    known: the labels of an earlier verb. look: whether the data are looked at: what an earlier verb found in them then
    doesn't count, but what the meta and the user said there does.
    Raises InputError if no contact is good.
    """
    labels = any_labels_of(recording, settings, work, known, look)
    if (labels != GOOD).all():
        raise InputError(
            "no contact is left that is good: " + _in_words(recording, labels),
            "give fewer --bad-channels, or look at the data with driftcli info; --set bad_channels.method=none "
            "takes all contacts as good",
        )
    return labels


def any_labels_of(
    recording: Recording,
    settings: Settings,
    work: Work,
    known: NDArray[np.uint8] | None = None,
    look: bool = True,
) -> NDArray[np.uint8]:
    """The same, also if no contact is good."""
    labels = np.full(len(recording.geometry), GOOD, np.uint8) if recording.labels is None else recording.labels
    if known is not None:
        labels = np.where((labels == GOOD) & ~(look & np.isin(known, _FOUND)), known, labels)
    if look:
        found = _found(recording, np.flatnonzero(labels == GOOD), settings, work)
        labels = np.where(labels == GOOD, found, labels)
    return labels.astype(np.uint8)


def describe_labels(recording: Recording, labels: NDArray[np.uint8]) -> dict[str, list[int]]:
    """For `run.json`: the channels that aren't good, by what is wrong with them."""
    return {
        CONTACT_LABELS[label]: recording.channel_numbers[labels == label].tolist()
        for label in np.unique(labels)
        if label != GOOD
    }


def tell_of_labels(recording: Recording, labels: NDArray[np.uint8], work: Work) -> None:
    """Tell the user of contacts that aren't good."""
    if (labels != GOOD).any():
        work.reporter.message(f"not used: {_in_words(recording, labels)}")


def _found(recording: Recording, contacts: NDArray[np.int64], settings: Settings, work: Work) -> NDArray[np.uint8]:
    """(C,) labels that the data give to the contacts; the others count as good."""
    stage = settings["bad_channels"]
    labels = np.full(len(recording.geometry), GOOD, np.uint8)
    if stage.method == "none" or not len(contacts):
        return labels
    view = recording.only(contacts)
    context = (view.geometry, view.sampling_frequency_hz, view.gain_to_uv is not None)
    finder = stage.module.Finder(stage.parameters, *context)
    stream = Stream(view, [], 0, jobs=work.jobs, chunk_s=work.chunk_s)

    def look(span: Span) -> NDArray[np.uint8]:
        piece = stream.piece(*span)
        labels: NDArray[np.uint8] = finder(piece.traces[piece.first : piece.last])
        return labels

    slices = [stream.unbroken(span) for span in noise_slices(view.num_samples, view.sampling_frequency_hz)]
    labels[contacts] = stage.module.vote(np.array(list(stream.map(look, slices, work.reporter, "bad channels"))))
    return labels


def _in_words(recording: Recording, labels: NDArray[np.uint8]) -> str:
    """`2 dead (AP channels 5, 17), 1 reference (191)`."""
    told = []
    for name, channels in describe_labels(recording, labels).items():
        shown = ", ".join(map(str, channels[:_MOST_TOLD])) + (", ..." if len(channels) > _MOST_TOLD else "")
        told.append(f"{len(channels)} {name.replace('_', ' ')} (channel{'s' * (len(channels) > 1)} {shown})")
    return ", ".join(told)
