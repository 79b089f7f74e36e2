"""Nets and solvers as data: the C++ DSL in Python."""

import json
import os
import sys

from . import _native as native


class Layer:
    """One layer of a net, as plain data. The functions of sparknet.layers make them."""

    def __init__(self, description):
        self.description = description

    def __eq__(self, other):
        def value(layer):
            return {name: part for name, part in layer.description.items() if name != "where"}

        return isinstance(other, Layer) and value(self) == value(other)

    def __repr__(self):
        d = self.description
        parts = [repr(d["name"])]
        if d.get("bottom"):
            parts.append(repr(d["bottom"]))
        if "shape" in d:
            parts.append(repr(d["shape"]))
        parts += [f"{name}={value!r}" for name, value in d.get("options", {}).items()]
        if "include" in d:
            parts.append(f"include={d['include']!r}")
        return f"{d['type']}({', '.join(parts)})"

    def with_(self, **extras):
        """The layer, and what is said of it beside its own options: top, param, loss_weight, propagate_down, include and
        exclude, as C++'s `with`; what was said before is replaced."""
        return Layer({**self.description, "with": extras})


def _caller():
    """The line of the user's program that makes a layer."""
    frame = sys._getframe(2)
    return {"file": os.path.basename(frame.f_code.co_filename), "line": frame.f_lineno}


class _LayerType:
    """Makes layers of one type: ConvolutionLayer("conv1", ["data"], kernel=5, num_output=20)."""

    def __init__(self, type, inputs, options):
        self.__name__ = self.type = type
        self.inputs, self.options = inputs, options
        bottoms = "" if inputs < 0 else ", bottom"
        shape = ", shape" if type == "RDDLayer" else ""
        self.__doc__ = f"{type}(name{bottoms}{shape}{''.join(f', {o}=' for o in options)}, include=)"

    def __repr__(self):
        return f"<{self.__doc__}>"

    def __call__(self, name, *positional, include=None, **options):
        description = {"type": self.type, "name": name, "where": _caller()}
        wanted = (["bottom"] if self.inputs >= 0 else []) + (["shape"] if self.type == "RDDLayer" else [])
        if len(positional) > len(wanted):
            raise TypeError(f"{self.__doc__} takes {1 + len(wanted)} positional arguments, not {1 + len(positional)}")
        given = dict(zip(wanted, positional))
        for argument in wanted:
            if argument in options:
                given[argument] = options.pop(argument)
        if "bottom" in given:
            bottom = given["bottom"]
            description["bottom"] = [bottom] if isinstance(bottom, str) else list(bottom)
        if "shape" in given:
            description["shape"] = [int(side) for side in given["shape"]]
        if options:
            description["options"] = options
        if include is not None:
            description["include"] = include
        return Layer(description)


class _Handle(native.Handle):
    kind = "net_param"


class NetParam:
    """A net as a plain value: NetParam("LeNet", RDDLayer("data", [64, 1, 28, 28]), ...). Compare it, print it, pickle
    it, build it in loops with add(). Raises NetError for a layer that makes no sense."""

    def __init__(self, name, *layers):
        self._made_of = {"name": name, "layers": []}
        self._handle = _Handle("net_param_create", native.text(name))
        for layer in layers:
            self.add(layer)

    @classmethod
    def from_prototxt(cls, text, name="prototxt"):
        """A net from Caffe's text; `name` is what errors call it."""
        net = cls.__new__(cls)
        net._made_of = {"prototxt": text, "name": name, "layers": []}
        net._handle = _Handle("net_param_parse", native.text(text), native.text(name))
        return net

    @classmethod
    def read(cls, file):
        """A net from a prototxt file."""
        with open(file, encoding="utf-8") as stream:
            return cls.from_prototxt(stream.read(), str(file))

    def add(self, layer):
        """Adds a layer and returns the net."""
        if not isinstance(layer, Layer):
            raise TypeError(f"a net is made of layers (see sparknet.layers), not of {layer!r}")
        native.call("net_param_add", self._handle, native.as_json(layer.description))
        self._made_of["layers"].append(layer.description)
        return self

    def to_prototxt(self):
        return native.made_text("net_param_prototxt", self._handle)

    def layers(self, phase="train"):
        """The layers that take part, with their blobs' shapes: dicts of name, type, options (text), bottoms,
        bottom_shapes, tops, top_shapes, input. Raises NetError for a net that makes no sense."""
        return native.made_json("net_param_layers", self._handle, native.options(phase=phase))

    def inputs(self, phase="train"):
        """The blobs that come from outside and their shapes, the batch first."""
        return {
            top: shape
            for layer in self.layers(phase)
            if layer["input"]
            for top, shape in zip(layer["tops"], layer["top_shapes"])
        }

    def classes(self, blob, phase="train"):
        """Of a blob of labels the number of classes; 0 for other blobs and where any label may come."""
        classes = 0
        for layer in self.layers(phase):
            if layer["type"] not in _LABELLED or layer["bottoms"][1:2] != [blob]:
                continue
            scores = layer["bottom_shapes"][0]
            if len(scores) < 2 or any(word in layer["options"] for word in (".axis", ".ignore_label")):
                return 0
            classes = scores[1]
        return classes

    def __eq__(self, other):
        if not isinstance(other, NetParam):
            return NotImplemented
        equal = native.ctypes.c_int32()
        native.call("net_param_equal", self._handle, other._handle, native.ctypes.byref(equal))
        return bool(equal.value)

    def __repr__(self):
        """As it would be written in C++."""
        return native.made_text("net_param_text", self._handle)

    def __reduce__(self):
        return _net_of, (json.loads(native.as_json(self._made_of).data),)


_LABELLED = {"SoftmaxWithLoss", "AccuracyLayer", "MultinomialLogisticLoss", "HingeLoss", "InfogainLoss"}


def _net_of(made_of):
    if "prototxt" in made_of:
        net = NetParam.from_prototxt(made_of["prototxt"], made_of["name"])
    else:
        net = NetParam(made_of["name"])
    for description in made_of["layers"]:
        net.add(Layer(description))
    return net


class _SolverHandle(native.Handle):
    kind = "solver_param"


class SolverParam:
    """What a solver does, by the names of Caffe's SolverParameter: SolverParam(type="Nesterov", base_lr=0.01,
    momentum=0.9, lr_policy="step", gamma=0.1, stepsize=5000, max_iter=10000)."""

    def __init__(self, **fields):
        fields.setdefault("lr_policy", "fixed")
        self._set(fields, "".join(_field(name, value) for name, value in fields.items()), "SolverParam")

    @classmethod
    def from_prototxt(cls, text, name="prototxt"):
        """A solver from Caffe's text, which names no net."""
        solver = cls.__new__(cls)
        solver._set({}, text, name)
        return solver

    def _set(self, fields, text, name):
        self._fields, self._text, self._name = fields, text, name
        self._handle = _SolverHandle("solver_param_parse", native.text(text), native.text(name))

    def to_prototxt(self):
        return self._text

    def __eq__(self, other):
        return isinstance(other, SolverParam) and self._text == other._text

    def __repr__(self):
        return f"SolverParam({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"

    def __reduce__(self):
        return _solver_of, (self._fields, self._text, self._name)


def _solver_of(fields, text, name):
    solver = SolverParam.from_prototxt(text, name)
    solver._fields = fields
    return solver


def _field(name, value):
    if isinstance(value, (list, tuple)):
        return "".join(_field(name, element) for element in value)
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, str) and name not in ("snapshot_format", "solver_mode"):
        value = json.dumps(value)
    elif hasattr(value, "item"):
        value = value.item()
    return f"{name}: {value}\n"
