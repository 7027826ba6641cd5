"""Vectors inside of kernels: values of many lanes that stay in registers, where a loop over an array would not.

A kernel that runs along time for many channels holds a state per channel. Kept in an array, every state is stored and
loaded again for each sample, which takes several times as long as the arithmetic. A vector is a variable of the kernel
instead. `lanes` must be a constant; vectors wider than the processor's registers take several of them. `fma` rounds
once, on every processor alike.

numba's cache watches the file of a kernel, not this one. So a file that imports from here holds this file's digest, by
a test: whoever changes this file changes those, and their kernels are compiled again.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload, register_model


class Vector(types.Type):
    """numba's type of a vector: `lanes` numbers of one `dtype`."""

    def __init__(self, dtype: types.Number, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


@intrinsic(prefer_literal=True)
def load(typing: Any, array: Any, row: Any, column: Any, lanes: Any) -> Any:
    """array[row, column : column + lanes] of a C-contiguous array."""
    _require_rows(array)
    vector = Vector(array.dtype, lanes.literal_value)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, signature, values, context.get_value_type(vector))
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp, types.intp, lanes), generate


@intrinsic
def store(typing: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
    """array[row, column : column + lanes] = vector, rounded to the dtype of the C-contiguous array."""
    _require_rows(array)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(Vector(array.dtype, vector.lanes))
        pointer = _pointer(context, builder, signature, values, kind)
        value = values[3]
        if array.dtype.bitwidth > vector.dtype.bitwidth:
            value = builder.fpext(value, kind)
        elif array.dtype.bitwidth < vector.dtype.bitwidth:
            value = builder.fptrunc(value, kind)
        builder.store(value, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), generate


@intrinsic(prefer_literal=True)
def splat(typing: Any, value: Any, lanes: Any) -> Any:
    """A vector of the same float in all lanes."""
    vector = Vector(value, lanes.literal_value)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(vector)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), values[0], ir.Constant(ir.IntType(32), 0))
        lanes_of = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
        return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), lanes_of)

    return vector(value, lanes), generate


@intrinsic
def fma(typing: Any, one: Any, other: Any, term: Any) -> Any:
    """one * other + term, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(one)
        name = f"llvm.fma.v{kind.count}{kind.element.intrinsic_name}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, values)

    return one(one, other, term), generate


@intrinsic
def only(typing: Any, value: Any, keep: Any) -> Any:
    """The lanes of a float32 vector where those of the int32 vector `keep` are -1; -0, which adds nothing, at 0.

    Bits, not a comparison: for its masks processors take twice as long.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, bits = values
        minus_zero = ir.Constant(bits.type, [-(2**31)] * bits.type.count)
        kept = builder.and_(builder.bitcast(kind, bits.type), bits)
        return builder.bitcast(builder.or_(kept, builder.and_(builder.not_(bits), minus_zero)), kind.type)

    return value(value, keep), generate


def _require_rows(array: Any) -> None:
    """Lanes must lie next to each other."""
    if array.layout != "C" or array.ndim != 2:
        raise TypingError(f"vectors are of the rows of C-contiguous matrices, not of {array}")


def _pointer(context: Any, builder: Any, signature: Any, values: Any, kind: Any) -> Any:
    array_type = signature.args[0]
    array = context.make_array(array_type)(context, builder, values[0])
    item = cgutils.get_item_pointer(context, builder, array_type, array, list(values[1:3]), wraparound=False)
    return builder.bitcast(item, kind.as_pointer())


@intrinsic
def _sum(typing: Any, one: Any, other: Any) -> Any:
    return one(one, other), lambda context, builder, signature, values: builder.fadd(*values)


@intrinsic
def _product(typing: Any, one: Any, other: Any) -> Any:
    return one(one, other), lambda context, builder, signature, values: builder.fmul(*values)


@intrinsic
def _negative(typing: Any, one: Any) -> Any:
    return one(one), lambda context, builder, signature, values: builder.fneg(*values)


@overload(operator.add)
def _add(one, other):  # type: ignore[no-untyped-def]
    return (lambda one, other: _sum(one, other)) if isinstance(one, Vector) and one == other else None


@overload(operator.mul)
def _mul(one, other):  # type: ignore[no-untyped-def]
    return (lambda one, other: _product(one, other)) if isinstance(one, Vector) and one == other else None


@overload(operator.neg)
def _neg(one):  # type: ignore[no-untyped-def]
    return (lambda one: _negative(one)) if isinstance(one, Vector) else None
