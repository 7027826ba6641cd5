"""`.prb` files, the probes of Klusta and SpyKING CIRCUS: read without being run.

A `.prb` is a Python script that leaves a dictionary `channel_groups` behind: per group its `channels` and `geometry`,
the position of each channel in µm. Programs run it; a file from somebody else could then do anything. Here it is
parsed, and the part of Python that such files are made of is worked out by hand: plain values, names, arithmetic,
comparisons, lists, tuples, dictionaries, comprehensions, loops, conditions, and a few functions. Nothing else, and in a
bounded number of steps. Imports and functions of the script's own are not run: names and keys that get their values
from them stay unknown, which matters only where channels or geometry need them. They are taken to change nothing else.

Source: probeinterface 0.4.2's `read_prb`, whose probe this gives.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from probeinterface import Probe, ProbeGroup

from driftcli.bounded import read_bytes, whole_number
from driftcli.errors import InputError

_MOST_BYTES = 500_000  # 4,225 contacts take 91,000, spelled out; the worst of this length is parsed in 1.2 s
_MOST_WITH_F_STRINGS = 64_000  # Python 3.11 goes through an f-string anew for each of its braces
_F_STRING = re.compile(r"(?<!\w)(?:f|fr|rf)['\"]", re.IGNORECASE)
_MOST_STEPS = 1_000_000  # values that are worked out: a probe of 4,096 contacts takes some 40,000
_LARGEST_NUMBER = 1 << 64
_LARGEST_POWER = 64
_PER_STEP = 100  # characters that are compared
_RADIUS_UM = 5  # of the contacts, which a .prb doesn't tell
_HINT = "convert it where you trust it to a probeinterface JSON (probeinterface.read_prb, then write_probeinterface)"

_SCALARS = (int, float, str, bool, type(None))
_NUMBERS = (int, float)
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MEMBERSHIPS: dict[type[ast.cmpop], bool] = {ast.In: True, ast.NotIn: False}
_VIEWS: dict[str, Callable[[dict[Any, Any]], Iterable[Any]]] = {
    "keys": dict.keys,
    "values": dict.values,
    "items": dict.items,
}
_WORDS: dict[type[ast.AST], str] = {
    ast.AsyncFunctionDef: "a function",
    ast.Attribute: "a name behind a dot",
    ast.Await: "await",
    ast.BoolOp: "'and' or 'or'",
    ast.ClassDef: "a class",
    ast.Delete: "del",
    ast.IfExp: "a condition within a value",
    ast.Is: "'is'",
    ast.IsNot: "'is not'",
    ast.JoinedStr: "an f-string",
    ast.Lambda: "a function",
    ast.LShift: "a shift of bits",
    ast.MatMult: "a product of matrices",
    ast.NamedExpr: "a name within a value",
    ast.Not: "'not'",
    ast.RShift: "a shift of bits",
    ast.Starred: "a star",
    ast.Try: "try",
    ast.While: "while",
    ast.With: "with",
}


def read_prb(path: Path) -> ProbeGroup:
    """The probes of a `.prb`, one a group; contacts are circles wired to the channels. Raises InputError naming the
    line of what is no plain description of a probe."""
    probegroup = ProbeGroup()
    for name, group in _Script(path).run().items():
        channels, positions = _contacts(path, str(name)[:50], group)
        try:
            probegroup.add_probe(_probe(channels, positions))
        except ValueError as error:  # contacts in one place, channels in two groups
            raise _error(path, " ".join(str(error).split())[:300]) from None
    return probegroup


def _probe(channels: np.ndarray, positions: np.ndarray) -> Probe:
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=positions, shapes="circle", shape_params={"radius": _RADIUS_UM})
    probe.create_auto_shape(probe_type="tip")
    probe.set_device_channel_indices(channels)
    return probe


def _contacts(path: Path, name: str, group: Any) -> tuple[np.ndarray, np.ndarray]:
    """Channels (C,) int64 and positions (C, 2) float64 of a group."""
    group = _known(path, group)
    group = group if isinstance(group, dict) else {}
    channels, geometry = (_known(path, group.get(key)) for key in ("channels", "geometry"))
    channels = channels if isinstance(channels, list | tuple) else []
    whole = [number for number in map(whole_number, channels) if number is not None]
    if not whole or len(whole) < len(channels) or not isinstance(geometry, dict | list | tuple):
        raise _error(path, f"its group {name} has no list of channels (whole numbers) with a geometry")
    try:
        positions = [[_number(each) for each in _known(path, geometry[channel])] for channel in whole]
        if any(len(each) != 2 for each in positions):
            raise ValueError
        return np.array(whole, dtype=np.int64), np.array(positions, dtype=np.float64)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        told = f"the geometry of its group {name} has no position (two numbers) for every channel"
        raise _error(path, told) from None


def _number(value: Any) -> float:
    if type(value) not in _NUMBERS:
        raise TypeError
    return float(value)


def _error(path: Path, what: str, line: int | None = None) -> InputError:
    where = "" if line is None else f", line {line}"
    return InputError(f"cannot read the probe {path}{where}: {what}", _HINT)


class _NotPlainError(Exception):
    """What is not part of the Python that a `.prb` needs, or makes no sense."""


class _TooLongError(_NotPlainError):
    """More steps than a probe needs: there is no going on."""


_SENSELESS = (TypeError, ValueError, LookupError, ArithmeticError)  # what Python says of values


@dataclass(frozen=True)
class _Unknown:
    """Stands for a value that can't be worked out, as long as nothing needs it: why, and in which line."""

    why: str
    line: int


def _known(path: Path, value: Any) -> Any:
    """A value that a probe needs."""
    if type(value) is _Unknown:
        raise _error(path, value.why, value.line)
    return value


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, _NotPlainError) else f"{type(error).__name__}: {str(error)[:200]}"


class _Script:
    """A script on its way: what its names stand for, and how many values were worked out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, Any] = {}
        self._steps = 0
        self._line = 1
        self._functions: dict[str, Callable[..., Any]] = {
            "range": self._range,
            "list": lambda *items: self._listed(*items),
            "tuple": lambda *items: tuple(self._listed(*items)),
            "dict": self._dict,
            "set": lambda *items: set(self._keys(self._listed(*items))),
            "len": lambda items: len(self._sized(items)),
            "enumerate": lambda items: [(index, each) for index, each in enumerate(self._listed(items))],
            "reversed": lambda items: self._listed(self._sequence(items))[::-1],
            "sorted": lambda items: sorted(self._numeric(each) for each in self._listed(items)),
            "zip": lambda *lists: list(zip(*(self._listed(each) for each in lists), strict=False)),
            "int": lambda number: self._bounded(int(self._numeric(number))),
            "float": lambda number: float(self._numeric(number)),
        }

    def run(self) -> dict[Any, Any]:
        """Work the script out; returns its `channel_groups`."""
        try:
            for statement in self._parse().body:
                self._do(statement)
        except (_NotPlainError, *_SENSELESS) as error:
            raise _error(self._path, _why(error), self._line) from None
        except (RecursionError, MemoryError):
            raise _error(self._path, "it is nested too deeply", self._line) from None
        found = {name.lower(): value for name, value in self._names.items()}.get("channel_groups")
        found = _known(self._path, found)
        if not isinstance(found, dict) or not found:
            raise _error(self._path, "it has no channel_groups")
        return found

    def _parse(self) -> ast.Module:
        try:
            content = read_bytes(self._path, _MOST_BYTES)
        except OSError as error:
            raise InputError(f"cannot read the probe {self._path}: {error.strerror or error}", _HINT) from None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
        f_string = _F_STRING.search(text) if len(text) > _MOST_WITH_F_STRINGS else None
        if f_string:
            self._line = text.count("\n", 0, f_string.start()) + 1
            raise _NotPlainError("an f-string in so long a file is more than a plain description of a probe")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on what the script could have written better
                return ast.parse(text)
        except SyntaxError as error:
            self._line = error.lineno or 1
            raise _NotPlainError(f"it is not Python: {error.msg}") from None

    # Statements

    def _do(self, statement: ast.stmt) -> None:
        self._step(statement)
        if isinstance(statement, ast.Assign):
            value = self._attempt(statement.value)
            for target in statement.targets:
                self._assign(target, value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._assign(statement.target, self._attempt(statement.value))
        elif isinstance(statement, ast.AugAssign):
            self._change(statement)
        elif isinstance(statement, ast.For) and not statement.orelse:
            for item in self._listed(self._value(statement.iter)):
                self._assign(statement.target, item)
                for inner in statement.body:
                    self._do(inner)
        elif isinstance(statement, ast.If):
            for inner in statement.body if self._value(statement.test) else statement.orelse:
                self._do(inner)
        elif isinstance(statement, ast.Expr):
            self._expression(statement.value)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for each in statement.names:
                name = (each.asname or each.name).partition(".")[0]
                self._names[name] = _Unknown(f"{name[:50]} is imported, and imports are not run", self._line)
        elif isinstance(statement, ast.FunctionDef):
            told = f"{statement.name[:50]} is a function of the file, and those are not run"
            self._names[statement.name] = _Unknown(told, self._line)
        elif not isinstance(statement, ast.Pass):
            raise _NotPlainError(f"{_named(statement)} is more than a plain description of a probe")

    def _change(self, statement: ast.AugAssign) -> None:
        """`x += 1`; a list grows in place, under all of its names."""
        before, value = self._value(statement.target), self._value(statement.value)
        if type(before) is list and type(statement.op) is ast.Add:
            before.extend(self._listed(value))
        elif type(before) is list:
            raise _NotPlainError("a list changed in place is more than a plain description of a probe")
        else:
            self._assign(statement.target, self._operate(statement.op, before, value))

    def _expression(self, node: ast.expr) -> None:
        """A statement that is a value: a docstring, `things.append(value)`, or a `print`, of which nothing is seen."""
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id == "print" and "print" not in self._names:
            return
        if isinstance(called, ast.Attribute) and called.attr == "append" and isinstance(node, ast.Call):
            items = self._value(called.value)
            if type(items) is list and len(node.args) == 1 and not node.keywords:
                items.append(self._value(node.args[0]))
                return
        self._value(node)

    def _assign(self, target: ast.expr, value: Any) -> None:
        self._step(target)
        if isinstance(target, ast.Name):
            self._names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            values = [value] * len(target.elts) if type(value) is _Unknown else self._listed(value)
            if len(values) != len(target.elts):
                raise _NotPlainError(f"{len(values)} values for {len(target.elts)} names")
            for each, item in zip(target.elts, values, strict=True):
                self._assign(each, item)
        elif isinstance(target, ast.Subscript):
            items, key = self._value(target.value), self._value(target.slice)
            if type(items) is list and type(key) is int:
                items[key] = value
            elif type(items) is dict:
                items[self._key(key)] = value
            else:
                raise _NotPlainError("only items of lists and dictionaries can be set")
        else:
            raise _NotPlainError(f"{_named(target)} can't be set")

    # Values

    def _value(self, node: ast.expr) -> Any:
        self._step(node)
        work = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if work is None:
            raise _NotPlainError(f"{_named(node)} is more than a plain description of a probe")
        found = work(node)
        if type(found) is _Unknown:
            self._line = found.line
            raise _NotPlainError(found.why)
        return found

    def _attempt(self, node: ast.expr) -> Any:
        """A value, or why it can't be worked out."""
        try:
            return self._value(node)
        except _TooLongError:
            raise
        except (_NotPlainError, *_SENSELESS) as error:
            return _Unknown(_why(error), self._line)

    def _of_constant(self, node: ast.Constant) -> Any:
        if type(node.value) not in _SCALARS:
            raise _NotPlainError(f"a {type(node.value).__name__} describes no probe")
        return self._bounded(node.value)

    def _of_name(self, node: ast.Name) -> Any:
        if node.id not in self._names:
            raise _NotPlainError(f"{node.id[:50]!r} is not known")
        return self._names[node.id]

    def _of_attribute(self, node: ast.Attribute) -> Any:
        self._value(node.value)  # which says so if that is not known
        raise _NotPlainError(f"{_named(node)} is more than a plain description of a probe")

    def _of_list(self, node: ast.List) -> list[Any]:
        return [self._value(each) for each in node.elts]

    def _of_tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._value(each) for each in node.elts)

    def _of_set(self, node: ast.Set) -> set[Any]:
        return set(self._keys(self._value(each) for each in node.elts))

    def _of_dict(self, node: ast.Dict) -> dict[Any, Any]:
        if None in node.keys:
            raise _NotPlainError("** is more than a plain description of a probe")
        pairs = zip((key for key in node.keys if key is not None), node.values, strict=True)
        return {self._key(self._value(key)): self._attempt(value) for key, value in pairs}

    def _of_unaryop(self, node: ast.UnaryOp) -> Any:
        if type(node.op) not in _SIGNS:
            raise _NotPlainError(f"{_named(node.op)} is more than a plain description of a probe")
        return _SIGNS[type(node.op)](self._numeric(self._value(node.operand)))

    def _of_binop(self, node: ast.BinOp) -> Any:
        return self._operate(node.op, self._value(node.left), self._value(node.right))

    def _of_compare(self, node: ast.Compare) -> bool:
        """All of `a < b < c`."""
        values = [self._value(each) for each in (node.left, *node.comparators)]
        return all(self._compare(*each) for each in zip(node.ops, values[:-1], values[1:], strict=True))

    def _of_subscript(self, node: ast.Subscript) -> Any:
        items = self._value(node.value)
        if isinstance(node.slice, ast.Slice):
            parts = (node.slice.lower, node.slice.upper, node.slice.step)
            bounds = [None if part is None else self._value(part) for part in parts]
            return self._sequence(items)[slice(*bounds)]
        key = self._value(node.slice)
        return items[self._key(key)] if type(items) is dict else self._sequence(items)[key]

    def _of_listcomp(self, node: ast.ListComp) -> list[Any]:
        return self._each(node.generators, lambda: self._value(node.elt))

    def _of_setcomp(self, node: ast.SetComp) -> set[Any]:
        return set(self._each(node.generators, lambda: self._key(self._value(node.elt))))

    def _of_generatorexp(self, node: ast.GeneratorExp) -> list[Any]:
        return self._each(node.generators, lambda: self._value(node.elt))

    def _of_dictcomp(self, node: ast.DictComp) -> dict[Any, Any]:
        return dict(self._each(node.generators, lambda: (self._key(self._value(node.key)), self._value(node.value))))

    def _of_call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute):
            return self._view(node, node.func)
        if isinstance(node.func, ast.Name) and node.func.id in self._names:
            self._value(node.func)  # which says why it is not known
        if not isinstance(node.func, ast.Name) or node.func.id not in self._functions or node.func.id in self._names:
            raise _NotPlainError(f"only {', '.join(self._functions)} can be called")
        if any(option.arg is None for option in node.keywords):
            raise _NotPlainError("** is more than a plain description of a probe")
        options = {str(option.arg): self._value(option.value) for option in node.keywords}
        if options and node.func.id != "dict":
            raise _NotPlainError(f"{node.func.id} takes no names of arguments here")
        return self._functions[node.func.id](*(self._value(each) for each in node.args), **options)

    def _view(self, node: ast.Call, method: ast.Attribute) -> list[Any]:
        """`things.keys()`, `.values()` or `.items()`."""
        items = self._value(method.value)
        if type(items) is not dict or method.attr not in _VIEWS or node.args or node.keywords:
            raise _NotPlainError(f"behind a dot only {', '.join(_VIEWS)} of a dictionary can be called")
        self._count(len(items))
        return list(_VIEWS[method.attr](items))

    def _each(self, generators: list[ast.comprehension], work: Callable[[], Any]) -> list[Any]:
        """What `work` gives in every round of the loops of a comprehension, whose names keep to it."""
        self._count(len(self._names))
        outside = dict(self._names)
        try:
            return [work() for _ in self._rounds(generators)]
        finally:
            self._names = outside

    def _rounds(self, generators: list[ast.comprehension]) -> Iterator[None]:
        if not generators:
            yield
            return
        first, *rest = generators
        if first.is_async:
            raise _NotPlainError("'async' is more than a plain description of a probe")
        for item in self._listed(self._value(first.iter)):
            self._assign(first.target, item)
            if all(self._value(condition) for condition in first.ifs):
                yield from self._rounds(rest)

    # What bounds them

    def _step(self, node: ast.AST) -> None:
        self._line = getattr(node, "lineno", self._line)
        self._count(1)

    def _count(self, number: int) -> None:
        self._steps += number
        if self._steps > _MOST_STEPS:
            raise _TooLongError(f"it takes more than {_MOST_STEPS:,} steps to describe a probe")

    def _operate(self, operation: ast.operator, left: Any, right: Any) -> Any:
        work = _OPERATIONS.get(type(operation))
        if work is None:
            raise _NotPlainError(f"{_named(operation)} is more than a plain description of a probe")
        if type(left) in _NUMBERS and type(right) in _NUMBERS:
            if work is operator.pow and abs(right) > _LARGEST_POWER:
                raise _NotPlainError("a power is far too large for a probe")
            return self._numeric(self._bounded(work(left, right)))
        if type(left) is str and type(right) is str and work is operator.add:
            self._count(len(left) + len(right))
            return left + right
        lists = type(left) is type(right) and type(left) in (list, tuple)
        if lists and work is operator.add:
            self._count(len(left) + len(right))
            return left + right
        if work is operator.mul and type(left) in (list, tuple) and type(right) is int:
            self._count(len(left) * max(right, 0))
            return left * right
        raise _NotPlainError("only numbers and lists can be reckoned with")

    def _compare(self, operation: ast.cmpop, left: Any, right: Any) -> bool:
        wanted = _MEMBERSHIPS.get(type(operation))
        if wanted is not None:
            among = self._listed(right)
            return any(self._compare(ast.Eq(), left, each) for each in among) is wanted
        work = _COMPARISONS.get(type(operation))
        if work is None:
            raise _NotPlainError(f"{_named(operation)} is more than a plain description of a probe")
        if type(left) not in _SCALARS or type(right) not in _SCALARS:
            raise _NotPlainError("only numbers and texts can be compared")
        self._count(1 + (len(left) // _PER_STEP if type(left) is str else 0))
        return bool(work(left, right))

    def _bounded(self, value: Any) -> Any:
        if type(value) is int and abs(value) > _LARGEST_NUMBER:
            raise _NotPlainError("a number is far too large for a probe")
        return value

    def _range(self, *bounds: Any) -> list[int]:
        if not all(type(bound) is int for bound in bounds):
            raise _NotPlainError("range takes whole numbers")
        numbers = range(*bounds)
        # the length of a range may be too large for len()
        self._count(max(0, (numbers.stop - numbers.start) // numbers.step))
        return list(numbers)

    def _dict(self, pairs: Any = (), **items: Any) -> dict[Any, Any]:
        if type(pairs) is dict:
            self._count(len(pairs))
            return {**pairs, **items}
        split = [self._sequence(pair) for pair in self._listed(pairs)]
        if any(len(pair) != 2 for pair in split):
            raise _NotPlainError("dict takes pairs")
        return {**{self._key(key): value for key, value in split}, **items}

    def _listed(self, items: Any = ()) -> list[Any]:
        """The items that a loop goes over."""
        self._count(len(self._sized(items)))
        return list(items)

    def _sized(self, items: Any) -> Any:
        if type(items) not in (list, tuple, dict, set):
            raise _NotPlainError(f"a {type(items).__name__} holds no items")
        return items

    def _sequence(self, items: Any) -> Any:
        if type(items) not in (list, tuple):
            raise _NotPlainError(f"a {type(items).__name__} has no items by number")
        self._count(len(items) if len(items) > 100 else 1)
        return items

    def _keys(self, values: Iterable[Any]) -> Iterator[Any]:
        return (self._key(value) for value in values)

    def _key(self, value: Any) -> Any:
        """A value as a key: a number or a text. Tuples of tuples could take forever to be hashed."""
        if type(value) not in _SCALARS:
            raise _NotPlainError(f"a {type(value).__name__} is no key")
        return value

    def _numeric(self, value: Any) -> Any:
        if type(value) not in _NUMBERS:
            raise _NotPlainError(f"a {type(value).__name__} is no number")
        return value


def _named(node: ast.AST) -> str:
    """What a piece of Python is called, to tell where it isn't taken."""
    return _WORDS.get(type(node), "what is written here")
