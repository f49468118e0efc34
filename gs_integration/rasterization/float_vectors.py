"""Eight float32 side by side, for numba kernels: what a compiler's vectoriser finds in a loop only on a good day.

`Float32Vector` exists inside compiled code alone. It maps to LLVM's <8 x float>, which every processor knows: one
register with AVX, two with SSE or NEON. Operators work lane by lane and are never reassociated, so that two kernels
that write the same formula get the same bits.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.core.typing.templates import signature as call_signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 8

_FLOAT = ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INT = ir.IntType(32)
_INTS = ir.VectorType(_INT, LANES)

# 2^f on [-1/2, 1/2] by rising powers, with the least largest relative error: 0.9e-7, with float32 arithmetic 1.6e-7.
_EXP2_COEFFICIENTS = (
    1.0,
    0.6931470036506653,
    0.24022242426872253,
    0.05550733581185341,
    0.009671512991189957,
    0.001326472731307149,
)


class Float32Vector(types.Type):
    """Numba's type of eight float32."""

    def __init__(self) -> None:
        super().__init__(name="Float32Vector")


VECTOR = Float32Vector()


@register_model(Float32Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, data_model_manager, numba_type):
        super().__init__(data_model_manager, numba_type, _FLOATS)


def _compiled(definition: Callable[..., Any]) -> Any:
    """Numba's `intrinsic`, whose result type checkers would call with the typing context."""
    return intrinsic(definition)


def _define_operator(python_operator, build) -> None:
    @infer_global(python_operator)  # pyright: ignore[reportOptionalCall] - numba sets it when imported
    class _Typing(ConcreteTemplate):
        cases = [call_signature(VECTOR, VECTOR, VECTOR)]  # noqa: RUF012 - numba reads a class attribute

    @lower_builtin(python_operator, Float32Vector, Float32Vector)
    def _lower(context, builder, signature, arguments):
        return build(builder, *arguments)


_define_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_define_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_define_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_define_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [value] * LANES)


def _fused(builder, a, b, c):
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32"), [a, b, c])


def _item_pointer(context, builder, array_type, array, indices):
    struct = context.make_array(array_type)(context, builder, array)
    pointer = cgutils.get_item_pointer(context, builder, array_type, struct, indices, wraparound=False)
    return builder.bitcast(pointer, _FLOATS.as_pointer())


@_compiled
def splat(typing_context, value):
    """The same float32 in all lanes."""

    def build(context, builder, signature, arguments):
        lane = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), arguments[0], ir.Constant(_INT, 0))
        return builder.shuffle_vector(lane, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * LANES))

    return VECTOR(types.float32), build


@_compiled
def lane_numbers(typing_context):
    """0, 1, ... 7."""

    def build(context, builder, signature, arguments):
        return ir.Constant(_FLOATS, [float(lane) for lane in range(LANES)])

    return VECTOR(), build


@_compiled
def load(typing_context, array, channel, row, column):
    """Eight neighbours array[channel, row, column : column + 8] of a C-contiguous float32 array; bounds unchecked."""

    def build(context, builder, signature, arguments):
        pointer = _item_pointer(context, builder, signature.args[0], arguments[0], arguments[1:])
        return builder.load(pointer, align=4)

    return VECTOR(array, types.intp, types.intp, types.intp), build


@_compiled
def store(typing_context, array, channel, row, column, vector):
    """Write array[channel, row, column : column + 8]; bounds unchecked."""

    def build(context, builder, signature, arguments):
        pointer = _item_pointer(context, builder, signature.args[0], arguments[0], arguments[1:4])
        builder.store(arguments[4], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.intp, VECTOR), build


@_compiled
def fused(typing_context, a, b, c):
    """The sum a * b + c, rounded once where the processor can."""

    def build(context, builder, signature, arguments):
        return _fused(builder, *arguments)

    return VECTOR(VECTOR, VECTOR, VECTOR), build


@_compiled
def where_greater(typing_context, a, b, if_greater, otherwise):
    """Lane by lane: `if_greater` where a > b, else (and where either is NaN) `otherwise`."""

    def build(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered(">", arguments[0], arguments[1]), arguments[2], arguments[3])

    return VECTOR(VECTOR, VECTOR, VECTOR, VECTOR), build


@_compiled
def minus_magnitude(typing_context, vector):
    """Lane by lane -|v|."""

    def build(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], _INTS)
        return builder.bitcast(builder.or_(bits, ir.Constant(_INTS, [-(2**31)] * LANES)), _FLOATS)

    return VECTOR(VECTOR), build


@_compiled
def exp2(typing_context, vector):
    """Lane by lane 2^v for v in -126..127."""

    def build(context, builder, signature, arguments):
        # Adding 1.5 * 2^23 leaves the nearest integer in the lowest bits of the float.
        shifter = _constant(1.5 * 2.0**23)
        shifted = builder.fadd(arguments[0], shifter)
        fraction = builder.fsub(arguments[0], builder.fsub(shifted, shifter))
        power = _constant(_EXP2_COEFFICIENTS[-1])
        for coefficient in reversed(_EXP2_COEFFICIENTS[:-1]):
            power = _fused(builder, power, fraction, _constant(coefficient))
        exponent = builder.shl(builder.bitcast(shifted, _INTS), ir.Constant(_INTS, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, _INTS), exponent), _FLOATS)

    return VECTOR(VECTOR), build


@_compiled
def lane_sum(typing_context, vector):
    """The sum of the lanes, halves first."""

    def build(context, builder, signature, arguments):
        total, width = arguments[0], LANES
        while width > 1:
            width //= 2
            kind = ir.VectorType(_INT, width)
            low = ir.Constant(kind, list(range(width)))
            high = ir.Constant(kind, list(range(width, 2 * width)))
            total = builder.fadd(builder.shuffle_vector(total, total, low), builder.shuffle_vector(total, total, high))
        return builder.extract_element(total, ir.Constant(_INT, 0))

    return types.float32(VECTOR), build


@_compiled
def prefetch(typing_context, array, row):
    """Ask for the row of a two-dimensional array, to be read soon; bounds unchecked, it never faults."""

    def build(context, builder, signature, arguments):
        zero = context.get_constant(types.intp, 0)
        struct = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(
            context, builder, signature.args[0], struct, [arguments[1], zero], wraparound=False
        )
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To read, to be kept in all caches, data.
        builder.call(function, [builder.bitcast(pointer, byte), *(ir.Constant(_INT, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), build
