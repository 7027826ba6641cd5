"""Functions whose shared keywords show in their signature and their docstring, one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from textwrap import fill
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from numpy.typing import ArrayLike

from driftcli.api.kinds import require_kind

_WIDTH = 100  # of docstrings, as a terminal or a notebook shows them
Function = TypeVar("Function", bound=Callable[..., Any])


def checked(function: Function) -> Function:
    """Have a call of the function refused for a value of another kind than its parameter is: UsageError.

    Where numpy says what a parameter may be (ArrayLike), the function itself looks.
    """
    return _checked(function, inspect.signature(function), {})


def takes(group: type) -> Callable[[Function], Function]:
    """Make the `**options` of a function the keywords of a group, a TypedDict of `Annotated` types.

    The signature then lists them, the docstring says after the other parameters what each means, and a call is checked:
    TypeError for a keyword that is none, UsageError for a value that is not one of those there are.
    """
    hints = get_type_hints(group, include_extras=True)
    kinds = {name: get_args(hint)[0] for name, hint in hints.items() if get_origin(hint) is Annotated}

    def decorate(function: Function) -> Function:
        shown = _with_keywords(inspect.signature(function), kinds)
        taking = _checked(function, shown, {name: kind | None for name, kind in kinds.items()})
        meanings = "\n".join(_meaning(name, get_args(hint)[1]) for name, hint in hints.items())
        before, returns, after = inspect.cleandoc(function.__doc__ or "").partition("\n\nReturns ")
        taking.__doc__ = f"{before}\n{meanings}{returns}{after}"
        taking.__signature__ = shown  # type: ignore[attr-defined]
        taking.__annotations__ = {each.name: each.annotation for each in shown.parameters.values()}
        taking.__annotations__["return"] = shown.return_annotation
        return taking

    return decorate


def _checked(function: Function, shown: inspect.Signature, keywords: Mapping[str, Any]) -> Function:
    """keywords: the kinds of those that `shown` has beside the function's own parameters."""
    kinds = {**_kinds(function), **keywords}
    any_known = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in shown.parameters.values())

    @wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        if not any_known:
            _require_known(function.__name__, named, shown)
        for name, value in shown.bind_partial(*values, **named).arguments.items():
            if name in kinds:
                require_kind(function.__name__, name, value, kinds[name])
        return function(*values, **named)

    return call  # type: ignore[return-value]


def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Of the function's own parameters but for arrays; `**options` are of no kind, but each of its own."""
    own = [each for each in inspect.signature(function).parameters.values() if each.annotation is not each.empty]
    named = {each.name: each.annotation for each in own if each.kind is not each.VAR_KEYWORD}
    hints = get_type_hints(SimpleNamespace(__annotations__=named), function.__globals__)
    return {name: kind for name, kind in hints.items() if kind != ArrayLike}


def _with_keywords(own: inspect.Signature, kinds: Mapping[str, Any]) -> inspect.Signature:
    """A signature with keywords in place of its `**options`; those that are not given are False or None."""
    first = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(name, keyword, default=False if kind is bool else None, annotation=kind)
        for name, kind in kinds.items()
    ]
    return own.replace(parameters=[*first, *more])


def _meaning(name: str, text: str) -> str:
    return fill(f"{name}: {text}.", _WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _require_known(function: str, keywords: Mapping[str, Any], shown: inspect.Signature) -> None:
    for name in keywords:
        if name not in shown.parameters:
            near = get_close_matches(name, shown.parameters, n=1, cutoff=0.5)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"driftcli.{function} has no keyword {name!r}{meant}")
