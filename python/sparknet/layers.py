"""The layers, by the names of the C++ DSL: ConvolutionLayer("conv1", ["data"], kernel=5, num_output=20).

A height and width is one number or [h, w]; lr_mult and decay_mult are one number or [weights, bias]; a filler is its
name or a dict such as {"type": "gaussian", "std": 0.01}; an enumerator is its name. Each layer's docstring lists its
options; docs/layers.md says what they mean."""

from . import _native
from ._dsl import Layer, _LayerType

_types = {t["type"]: _LayerType(t["type"], t["inputs"], t["options"]) for t in _native.made_json("layer_types")}
globals().update(_types)
__all__ = ["Layer", *_types]
