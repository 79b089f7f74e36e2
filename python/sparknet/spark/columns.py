"""Columns of a DataFrame as inputs of a net: what is selected, what Arrow is told, what is refused on the driver."""

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, BooleanType, DecimalType, NumericType

import sparknet


def _name_of(column):
    return column["column"] if isinstance(column, dict) else column


def transforms_of(inputs):
    """The options of Source columns that `inputs` gives beside their names: {"data": {"scale": 1 / 256}}."""
    transforms = {}
    for blob, column in inputs.items():
        if isinstance(column, dict):
            options = {name: value for name, value in column.items() if name != "column"}
            if options:
                transforms[blob] = options
    return transforms


def _readable(type):
    while isinstance(type, ArrayType):
        type = type.elementType
    return isinstance(type, (NumericType, BooleanType, BinaryType)) and not isinstance(type, DecimalType)


def select(frame, net, inputs, phase, optional=()):
    """What is selected of `frame` (Columns named as the blobs), and what Source.from_arrow is told of them.

    Raises DataError for a column that is not there or cannot be an input; blobs in `optional` may have none."""
    blobs = net.inputs(phase)
    for blob in inputs:
        if blob not in blobs:
            raise sparknet.DataError(f'inputs: the net has no input "{blob}"; it has {", ".join(blobs)}')
    columns, specs = [], []
    for blob, shape in blobs.items():
        if blob not in inputs:
            raise sparknet.DataError(f'inputs: no column is given for the net\'s input "{blob}" of shape {shape}')
        name = _name_of(inputs[blob])
        if name not in frame.columns:
            if blob in optional:
                continue
            raise sparknet.DataError(
                f'column "{name}", for the net\'s input "{blob}": the frame has no such column; it has '
                f"{', '.join(frame.columns)}"
            )
        type = frame.schema[name].dataType
        column = F.col(f"`{name}`")
        if isinstance(type, VectorUDT):
            column = vector_to_array(column, "float32")
        elif not _readable(type):
            raise sparknet.DataError(
                f'column "{name}", for the net\'s input "{blob}": it holds {type.simpleString()}; numbers, arrays of '
                "them, bytes and ML vectors can be inputs"
            )
        columns.append(column.alias(blob))
        spec = {"name": blob, "shape": shape[1:]}
        classes = net.classes(blob, phase)
        if classes:
            spec["classes"] = classes
        specs.append(spec)
    return columns, specs
