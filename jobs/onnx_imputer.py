"""How a SimpleImputer becomes ONNX: skl2onnx's own rounds to float32, and does not take text.

Each column is told apart by IsNaN, or for text by being NULL_TEXT, and filled with Where; both keep all digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NULL_TEXT = "nan"


def imputer_type() -> type:
    """The class that the two functions below are for."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer  # type: ignore[no-any-return]


def imputer_shape(operator: Any) -> None:
    """Give the output the type of the inputs and the sum of their columns."""
    columns = sum(entry.type.shape[1] for entry in operator.inputs)
    operator.outputs[0].type = type(operator.inputs[0].type)([None, columns])


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a fitted SimpleImputer. Raises NotImplementedError for what they would not do alike."""
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    kind = type(operator.inputs[0].type)
    types = {
        DoubleTensorType: TensorProto.DOUBLE,
        FloatTensorType: TensorProto.FLOAT,
        StringTensorType: TensorProto.STRING,
    }
    if kind not in types:
        raise NotImplementedError(f"an imputer of {kind.__name__}")
    text = kind is StringTensorType
    fill = _fill(operator.raw_operator, text=text)

    def named(name: str) -> str:
        return str(scope.get_unique_variable_name(name))

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        container.add_node(kind, inputs, output, name=scope.get_unique_operator_name(kind), **attributes)
        return output

    together = node("Concat", [entry.full_name for entry in operator.inputs], named("columns"), axis=1)
    filling, null = named("fill"), named("null")
    container.add_initializer(filling, types[kind], [1, len(fill)], fill)
    if text:
        container.add_initializer(null, TensorProto.STRING, [1], [NULL_TEXT.encode()])
        missing = node("Equal", [together, null], named("missing"))
    else:
        missing = node("IsNaN", [together], named("missing"))
    node("Where", [missing, filling, together], operator.outputs[0].full_name)


def _fill(imputer: Any, *, text: bool) -> list[Any]:
    statistics = imputer.statistics_
    nan = isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)
    if not nan or imputer.add_indicator or any(isinstance(value, float) and np.isnan(value) for value in statistics):
        raise NotImplementedError(
            "an imputer of other values than nulls, with an indicator, or of columns without values"
        )
    return [str(value).encode() for value in statistics] if text else [float(value) for value in statistics]
