"""What runs: sources, nets, solvers, rounds."""

import ctypes
import itertools
import threading

import numpy as np

from . import _native as native
from ._dsl import NetParam, SolverParam

_kept = {}
_numbers = itertools.count(1)
_lock = threading.Lock()


@native.RELEASE
def _release(number):
    with _lock:
        _kept.pop(number, None)


class Source(native.Handle):
    """Examples with named columns. Never changes; many solvers may read it."""

    kind = "source"

    @classmethod
    def from_arrays(cls, **columns):
        """One array for each column, whose first dimension counts the examples: NumPy arrays, or what has __dlpack__.
        They are read where they are and must not change."""
        arrays = {name: native.array_of(value) for name, value in columns.items()}
        names = (native.Text * len(arrays))(*(native.text(name) for name in arrays))
        tensors = (native.Tensor * len(arrays))(*(native.tensor_of(array) for array in arrays.values()))
        number = next(_numbers)
        with _lock:
            _kept[number] = list(arrays.values())
        try:
            return cls("source_from_tensors", names, tensors, len(arrays), _release, number)
        except Exception:
            _release(number)
            raise

    @classmethod
    def from_arrow(cls, data, columns):
        """Record batches of anything with __arrow_c_stream__ (a Table, a RecordBatchReader, ...), read where they are.
        `columns` says what becomes of them: [{"name": "data", "column": "image", "shape": [1, 28, 28]}, {"name":
        "label", "classes": 10}]. Raises DataError that names column and row for values that cannot be so."""
        capsule = data.__arrow_c_stream__()
        stream = native.capsule_pointer(capsule, b"arrow_array_stream")
        return cls("source_from_arrow", stream, native.as_json(list(columns)))

    def part(self, index, count):
        """Part `index` of `count`: consecutive examples."""
        return Source("source_part", self, index, count)

    def __len__(self):
        size = ctypes.c_int64()
        native.call("source_size", self, ctypes.byref(size))
        return size.value


def _handle_of(param, kind):
    if not isinstance(param, kind):
        raise TypeError(f"a {kind.__name__} is wanted, not {param!r}")
    return param._handle


def _weights_for(info):
    """Memory for the weights that `info` is of."""
    return np.empty(info["elements"], {"f32": "<f4", "f64": "<f8"}[info["dtype"]])


class Net(native.Handle):
    """A net that runs. One thread at a time uses it."""

    kind = "net"

    def __init__(self, net, phase="test", *, threads=None, seed=None, keep=None, dtype=None, device=None, **more):
        options = native.options(phase=phase, threads=threads, seed=seed, keep=keep, dtype=dtype, device=device, **more)
        super().__init__("net_create", _handle_of(net, NetParam), options)

    @classmethod
    def _of(cls, solver):
        net = cls.__new__(cls)
        native.Handle.__init__(net, "solver_net", solver)
        return net

    @property
    def info(self):
        """inputs, outputs, blobs, batch, dtype, params and elements, as a dict."""
        return native.made_json("net_info", self)

    @property
    def inputs(self):
        return {blob["name"]: blob["shape"] for blob in self.info["inputs"]}

    @property
    def outputs(self):
        return self.info["outputs"]

    @property
    def params(self):
        return self.info["params"]

    def set_data(self, source, **options):
        """Feeds the inputs from the columns of their names: shuffle, seed, random, prefetch, transforms={"data":
        {"scale": 1 / 256, "mean_values": [...], "crop": 227, "mirror": True}}."""
        native.call("net_set_data", self, source, native.options(**options))

    def set_input(self, name, value):
        array = native.array_of(value)
        native.call("net_set_input", self, native.text(name), native.tensor_of(array))

    def forward(self, **inputs):
        """Sets the inputs that are given, runs the net and returns its loss."""
        for name, value in inputs.items():
            self.set_input(name, value)
        loss = ctypes.c_double()
        native.call("net_forward", self, ctypes.byref(loss))
        return loss.value

    def backward(self):
        native.call("net_backward", self)

    def blob(self, name):
        """A copy of a blob's values."""
        return self._blob("net_blob", name)

    def blob_diff(self, name):
        """A copy of a blob's gradient."""
        return self._blob("net_blob_diff", name)

    def _blob(self, call, name):
        tensor = native.Tensor()
        native.call(call, self, native.text(name), ctypes.byref(tensor))
        return native.array_from(tensor)

    def weights(self):
        """All weights as one array; info["params"] says what lies where."""
        weights = _weights_for(self.info)
        native.call("net_get_weights", self, weights.ctypes.data, weights.nbytes)
        return weights

    def set_weights(self, weights):
        dtype = {"f32": "<f4", "f64": "<f8"}[self.info["dtype"]]
        weights = np.ascontiguousarray(weights, dtype)
        native.call("net_set_weights", self, weights.ctypes.data, weights.nbytes)

    def load(self, file):
        """Copies weights from a .caffemodel into the layers of the same names; returns a line on what was copied."""
        return native.made_text("net_load", self, native.text(str(file)))

    def save(self, file):
        """Writes a .caffemodel that is whole or not there."""
        native.call("net_save", self, native.text(str(file)))


class Solver(native.Handle):
    """Trains a net. One thread at a time uses it."""

    kind = "solver"

    def __init__(self, solver, net, *, threads=None, seed=None, dtype=None, device=None, **more):
        options = native.options(threads=threads, seed=seed, dtype=dtype, device=device, **more)
        super().__init__("solver_create", _handle_of(solver, SolverParam), _handle_of(net, NetParam), options)

    @property
    def net(self):
        return Net._of(self)

    def set_data(self, source, **options):
        """The training data; options as Net.set_data's."""
        native.call("solver_set_data", self, source, native.options(**options))

    def set_test_data(self, source, **options):
        native.call("solver_set_test_data", self, source, native.options(**options))

    def step(self, count=1):
        """Trains `count` iterations and returns the loss of the last."""
        loss = ctypes.c_double()
        native.call("solver_step", self, count, ctypes.byref(loss))
        return loss.value

    def test(self):
        """The means of the outputs over test_iter batches of the test data."""
        return native.made_json("solver_test", self)

    @property
    def iteration(self):
        iteration = ctypes.c_int64()
        native.call("solver_iteration", self, ctypes.byref(iteration))
        return iteration.value

    def snapshot(self, file):
        native.call("solver_snapshot", self, native.text(str(file)))

    def restore(self, file):
        native.call("solver_restore", self, native.text(str(file)))

    def round(self, task, worker):
        """This worker's part of a round, which the bytes of Master.task() ask for."""
        address, size, _keep = native.buffer_of(task)
        return Contribution("solver_round", self, address, size, worker)


class Contribution(native.Handle):
    """What one or more workers made of a round."""

    kind = "contribution"

    def encode(self, slice=0, slices=1, codec="exact"):
        """As bytes without a copy: a memoryview. A slice is part number `slice` of so many."""
        options = native.options(slice=slice, slices=slices, codec=codec)
        return native.Bytes("contribution_encode", self, options).view()

    @classmethod
    def decode(cls, data, name="contribution"):
        address, size, _keep = native.buffer_of(data)
        return cls("contribution_decode", address, size, native.text(name))

    @property
    def info(self):
        """round, slice, slices, workers, rejected, steps, examples, loss and seconds, as a dict."""
        return native.made_json("contribution_info", self)


def _array_of_handles(parts):
    return (ctypes.c_void_p * len(parts))(*(part._as_parameter_ for part in parts))


def merge(contributions):
    """The sum of several, in the order of their workers: the same bits in whatever order they come. They are used up."""
    parts = list(contributions)
    return Contribution("contribution_merge", _array_of_handles(parts), len(parts))


class Joiner(native.Handle):
    """Puts slices of one contribution together as they come, in one net's memory."""

    kind = "joiner"

    def __init__(self):
        super().__init__("joiner_create")

    def add(self, contribution):
        native.call("joiner_add", self, contribution)

    def take(self):
        return Contribution("joiner_take", self)


class Master(native.Handle):
    """Holds the weights of averaging SGD, asks for rounds and makes the next weights of what comes back.

    The first weights are `weights`, or those of a Net made with `seed`. A round ends after `tau` steps or
    `round_seconds`; weighting is "examples", "steps" or "uniform"; history is "reset" or "average"; outer is "average",
    "diloco", or a dict such as {"type": "slowmo", "momentum": 0.5}; carries is "weights" or "differences", which the
    codecs "bf16" and "int8" need."""

    kind = "master"

    def __init__(
        self,
        solver,
        net,
        *,
        workers,
        seed=1,
        weights=None,
        tau=None,
        round_seconds=None,
        weighting=None,
        history=None,
        outer=None,
        quorum=None,
        carries=None,
    ):
        first = Net(net, phase="train", threads=1, seed=seed)
        if weights is not None:
            first.set_weights(weights)
        options = native.options(
            workers=workers,
            tau=tau,
            round_seconds=round_seconds,
            weighting=weighting,
            history=history,
            outer=outer,
            quorum=quorum,
            carries=carries,
        )
        super().__init__("master_create", _handle_of(solver, SolverParam), first, options)

    def task(self):
        """What every worker is asked for in this round: bytes without a copy, a memoryview."""
        return native.Bytes("master_task", self).view()

    def apply(self, contributions):
        """Ends the round with what came back, which is used up; returns its statistics as a dict."""
        parts = list(contributions)
        return native.made_json("master_apply", self, _array_of_handles(parts), len(parts))

    @property
    def info(self):
        return native.made_json("master_info", self)

    @property
    def done(self):
        return self.info["done"]

    @property
    def round(self):
        return self.info["round"]

    @property
    def iteration(self):
        return self.info["iteration"]

    def weights(self):
        weights = _weights_for(self.info)
        native.call("master_get_weights", self, weights.ctypes.data, weights.nbytes)
        return weights

    def snapshot(self, file):
        native.call("master_snapshot", self, native.text(str(file)))

    def restore(self, file):
        native.call("master_restore", self, native.text(str(file)))


class Communicator(native.Handle):
    """Member `rank` of a group of `size` processes, which talk over TCP by Gloo. `all_gather` is how they find each other:
    a function that is given a line of text and returns those of all members in the order of their ranks, by files, a
    key-value store, whatever there is. `host` is where the others reach this one, and `timeout` the seconds of each exchange.

    A context manager: at its end the members leave together, and where an exception ends it the others are told."""

    kind = "communicator"

    def __init__(self, rank, size, all_gather, *, host=None, timeout=None):
        kept, failure = [], []

        @native.ALL_GATHER
        def gather(_, mine, lines):
            try:
                given = [line.encode() for line in all_gather(ctypes.string_at(mine.data, mine.size).decode())]
                if len(given) != size:
                    raise ValueError(f"all_gather returned {len(given)} lines for a group of {size}")
                kept.extend(given)
                for number, line in enumerate(given):
                    lines[number] = native.Text(line, len(line))
                return 0
            except BaseException as error:
                failure.append(error)
                return 1

        self.rank, self.size = rank, size
        try:
            super().__init__("communicator_create", rank, size, native.options(host=host, timeout=timeout), gather, None)
        except native.Error as error:
            raise failure[0] if failure else error

    def broadcast(self, array, root=0):
        """An array of the shape and type of this one, with the values that member `root` brought."""
        copy = native.array_of(array).copy()
        native.call("communicator_broadcast", self, native.tensor_of(copy), root)
        return copy

    def sum(self, array):
        """The sum over the members of arrays of f32 or f64, in the order of the ranks: the same bits everywhere."""
        copy = native.array_of(array).copy()
        native.call("communicator_sum", self, native.tensor_of(copy))
        return copy

    def leave(self):
        """Waits until all members leave; then nothing can be exchanged any more."""
        native.call("communicator_leave", self)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.leave()
        self.close()


class AveragingSolver(native.Handle):
    """A worker's side of averaging SGD in a group: its solver trains on its data, and the weights are averaged with those
    of the other members, who make the same calls. The first weights are those of rank 0.

    Options are those of Master; history is "keep" unless it is said, outer may be "elastic" too. With gradients=True the
    members use the mean of their gradients in every step, which is synchronous SGD, in rounds of tau steps."""

    kind = "averaging"

    def __init__(
        self,
        solver,
        communicator,
        *,
        tau=None,
        round_seconds=None,
        weighting=None,
        history=None,
        outer=None,
        timeout=None,
        gradients=None,
    ):
        options = native.options(
            tau=tau,
            round_seconds=round_seconds,
            weighting=weighting,
            history=history,
            outer=outer,
            timeout=timeout,
            gradients=gradients,
        )
        super().__init__("averaging_create", solver, communicator, options)

    def round(self):
        """Trains and averages, up to the solver's max_iter; returns the round's statistics as a dict."""
        return native.made_json("averaging_round", self)

    @property
    def info(self):
        return native.made_json("averaging_info", self)

    @property
    def done(self):
        return self.info["done"]

    @property
    def iteration(self):
        return self.info["iteration"]

    def weights(self):
        weights = _weights_for(self.info)
        native.call("averaging_get_weights", self, weights.ctypes.data, weights.nbytes)
        return weights

    def snapshot(self, file):
        """Called by all members; that of rank 0 writes."""
        native.call("averaging_snapshot", self, native.text(str(file)))

    def restore(self, file):
        """Called by all members; that of rank 0 reads, and all goes on bit for bit."""
        native.call("averaging_restore", self, native.text(str(file)))
