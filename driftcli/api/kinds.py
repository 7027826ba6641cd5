"""What a parameter may be given, read off its annotation, so that a call is refused before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from driftcli.errors import UsageError

_ABSTRACT: dict[Any, Any] = {float: Real, int: Integral, bool: (bool, np.bool_)}  # numpy's numbers are among them
_WORDS = {float: "a number", int: "a whole number", bool: "True or False", str: "a text", NoneType: "None"}


def require_kind(function: str, name: str, value: Any, kind: Any) -> None:
    """Raise UsageError for a value that is not of the kind that an annotation says. function, name: for whom it is."""
    if _fits(value, kind):
        return
    choices = [text for each in _ways(kind) if get_origin(each) is Literal for text in get_args(each)]
    if not choices:
        raise UsageError(f"{name}={value!r:.100} is not {_words(kind)}", f"see help(driftcli.{function})")
    near = get_close_matches(str(value)[:100], choices, n=1, cutoff=0.5)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"{name}={value!r:.100} is none of the values there are{meant}", f"one of {', '.join(choices)}")


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        return _is_several(value) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is Sequence:
        return _is_several(value) and all(_fits(each, inner[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, inner[1]) for each in value.values())
    if isinstance(value, bool) and origin in (int, float):
        return False
    return isinstance(value, _ABSTRACT.get(origin, origin))


def _is_several(value: Any) -> bool:
    """A list, a tuple, an array, a set; a text is one, not its characters."""
    several = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
    return several and getattr(value, "ndim", 1) != 0  # an array of no dimension can't be walked


def _ways(kind: Any) -> Iterator[Any]:
    """The kinds that a union is of, or the only one."""
    yield from get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _words(kind: Any) -> str:
    """`a path or several of: a path`."""
    ways = [each for each in _ways(kind) if each is not NoneType]
    if str in ways and any(get_origin(each) is os.PathLike for each in ways):  # PathLike is either
        ways.remove(str)
    return " or ".join(map(_words_of_one, ways))


def _words_of_one(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is os.PathLike:
        return "a path"
    if origin is tuple:
        return f"a pair of numbers, ({', '.join(each.__name__ for each in inner)})"
    if origin is Sequence:
        return f"several of: {_words(inner[0])}"
    if origin is Mapping:
        return "a mapping"
    return _WORDS.get(kind, f"a {getattr(kind, '__name__', kind)}")
