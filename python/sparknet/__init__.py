"""sparknet: nets that train on one machine or on many. docs/python.md has the tour."""

from ._dsl import Layer, NetParam, SolverParam
from ._native import DataError, DeviceError, DTypeError, Error, NetError, ShapeError
from ._objects import AveragingSolver, Communicator, Contribution, Joiner, Master, Net, Solver, Source, merge

__all__ = [
    "AveragingSolver",
    "Communicator",
    "Contribution",
    "DTypeError",
    "DataError",
    "DeviceError",
    "Error",
    "Joiner",
    "Layer",
    "Master",
    "Net",
    "NetError",
    "NetParam",
    "ShapeError",
    "Solver",
    "SolverParam",
    "Source",
    "merge",
]
