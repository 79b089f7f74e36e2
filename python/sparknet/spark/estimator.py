"""Spark ML's face: an Estimator that trains a net, and the Model that it yields."""

import json
import os

import numpy as np
import pyarrow as pa
from pyspark import TaskContext, keyword_only
from pyspark.ml import Estimator, Model
from pyspark.sql.types import ArrayType, DoubleType, FloatType, StructField, StructType

import sparknet

from . import collective, rounds
from .columns import select, transforms_of
from .files import Saved, read_text, to_json, write_text
from .worker import reported

_SPREADS = {"examples": "examples", "samples": "examples", "steps": "steps", "uniform": "uniform"}


def _one_of(name, value, choices):
    if value not in choices:
        raise sparknet.Error(f'{name} is "{value}"; there are {", ".join(choices)}')
    return value


class SparkNetEstimator(Saved, Estimator):
    """Trains a net on the partitions of a DataFrame: each worker runs `tau` iterations on its own partition (or until
    `round_seconds`), the weights are averaged, and so on to the solver's max_iter. Moritz, Nishihara, Stoica, Jordan
    2015.

    net             a sparknet.NetParam
    solver          a sparknet.SolverParam
    inputs          the column of each input: {"data": "image", "label": "label"}, or with what becomes of it: {"data":
                    {"column": "image", "scale": 1 / 256, "mean_values": [...], "crop": 24, "mirror": True}, ...}
    num_workers     None: as many as the frame has partitions
    outer           "average", "diloco", or a dict such as {"type": "slowmo", "momentum": 0.5}
    weighting       "examples" (or "samples"), "steps" or "uniform"
    mode            "rounds", a job of tasks that keep nothing for each round; or "collective", one barrier stage whose
                    workers keep their data and solvers and talk over TCP
    solver_state    what becomes of the momentum at the end of a round: "reset", "average", or "keep" (collective alone);
                    None: "reset", and "keep" in collective mode
    quorum          rounds: how many workers must count (one whose weights are not finite does not); None: all
    codec           rounds: how contributions travel: "exact", "bf16" or "int8"
    gradients       collective: True makes it synchronous SGD, in which all workers use the mean of their gradients in
                    every step, and a round of tau steps is what is reported
    timeout         collective: the seconds after which a worker that does not come to the end of a round is lost
    checkpoint_dir  a folder on the driver for a snapshot every `checkpoint_every` rounds; fit goes on from one
    callback        called after each round with its statistics (a dict); False ends the training
    outputs         see SparkNetModel
    """

    @keyword_only
    def __init__(
        self,
        *,
        net,
        solver,
        inputs,
        tau=10,
        round_seconds=None,
        num_workers=None,
        mode="rounds",
        outer="average",
        weighting="examples",
        solver_state=None,
        quorum=None,
        codec="exact",
        gradients=False,
        timeout=600,
        shuffle=True,
        seed=1,
        checkpoint_dir=None,
        checkpoint_every=10,
        callback=None,
        outputs=None,
    ):
        super().__init__()
        is_group = _one_of("mode", mode, ("rounds", "collective")) == "collective"
        if is_group and (codec != "exact" or quorum is not None):
            raise sparknet.Error('quorum and codec are of mode="rounds": a group needs all and sends weights as they are')
        if gradients and not is_group:
            raise sparknet.Error('gradients is of mode="collective": tasks of rounds do not talk within one')
        states = ("reset", "average", "keep") if is_group else ("reset", "average")
        self.net, self.solver, self.inputs, self.outputs = net, solver, dict(inputs), outputs
        self.num_workers, self.seed, self.shuffle = num_workers, seed, shuffle
        self.mode, self.codec, self.timeout = mode, _one_of("codec", codec, ("exact", "bf16", "int8")), timeout
        self.checkpoint_dir, self.checkpoint_every, self.callback = checkpoint_dir, checkpoint_every, callback
        self.averaging = {
            "tau": tau,
            "round_seconds": round_seconds,
            "outer": outer,
            "weighting": _SPREADS[_one_of("weighting", weighting, _SPREADS)],
            "history": _one_of("solver_state", solver_state or ("keep" if is_group else "reset"), states),
        }
        if gradients:
            self.averaging["gradients"] = True
        self.quorum = quorum

    def _save_files(self, folder):
        given = dict(self._input_kwargs)
        net, solver = given.pop("net"), given.pop("solver")
        if given.pop("callback", None) is not None:
            raise sparknet.Error("callback: a function cannot be saved; save an estimator without one")
        write_text(os.path.join(folder, "net.prototxt"), net.to_prototxt())
        write_text(os.path.join(folder, "solver.prototxt"), solver.to_prototxt())
        write_text(os.path.join(folder, "estimator.json"), to_json(given))

    @classmethod
    def _load_files(cls, folder):
        net = sparknet.NetParam.read(os.path.join(folder, "net.prototxt"))
        solver = sparknet.SolverParam.from_prototxt(read_text(folder, "solver.prototxt"), "solver.prototxt")
        return cls(net=net, solver=solver, **json.loads(read_text(folder, "estimator.json")))

    def _fit(self, dataset):
        columns, specs = select(dataset, self.net, self.inputs, "train")
        frame = dataset.select(*columns)
        if self.num_workers is not None and frame.rdd.getNumPartitions() != self.num_workers:
            frame = frame.repartition(self.num_workers)
        train, more = rounds.train, {"codec": self.codec, "quorum": self.quorum}
        if self.mode == "collective":
            train, more = collective.train, {"timeout": self.timeout}
        weights = train(
            frame,
            self.net,
            self.solver,
            specs,
            {"shuffle": self.shuffle, "seed": self.seed, "transforms": transforms_of(self.inputs)},
            seed=self.seed,
            checkpoint_dir=self.checkpoint_dir,
            checkpoint_every=self.checkpoint_every,
            callback=self.callback,
            **more,
            **self.averaging,
        )
        return SparkNetModel(self.net, weights, self.inputs, self.outputs)


def _output_columns(net, outputs):
    """Of each blob its column, whether it is the largest element's number, and how many elements a row has."""
    shapes = {top: shape for layer in net.layers("test") for top, shape in zip(layer["tops"], layer["top_shapes"])}
    if outputs is None:
        last = sparknet.Net(net, threads=1).outputs
        outputs = {blob: blob for blob in last if len(shapes[blob]) > 1}
        if not outputs:
            raise sparknet.Error(
                f'outputs: name the blobs that become columns, as {{"ip2": "scores"}}; the net has {", ".join(shapes)}'
            )
    columns = []
    for blob, column in outputs.items():
        if blob not in shapes:
            raise sparknet.Error(f'outputs: the net has no blob "{blob}"; it has {", ".join(shapes)}')
        if not shapes[blob]:
            raise sparknet.Error(f'outputs: blob "{blob}" is one number for a whole batch')
        argmax = isinstance(column, dict) and column.get("argmax", False)
        name = column["column"] if isinstance(column, dict) else column
        columns.append((blob, name, argmax, int(np.prod(shapes[blob][1:]))))
    return columns


class SparkNetModel(Saved, Model):
    """A trained net, which adds blobs as columns: transform(frame).

    `outputs` names them: {"prob": "probability"} makes of each row's part of the blob an array<float> (or a float where
    it has one element), {"ip2": {"column": "prediction", "argmax": True}} the number of its largest element, a double.
    None: the net's outputs, but for losses. save(path) writes net.prototxt, weights.caffemodel and model.json into a new
    folder of any file system of Spark's; SparkNetModel.load(path) reads them. The net runs in its test phase; labels that
    the frame lacks are taken as 0.
    """

    def __init__(self, net, weights, inputs, outputs=None):
        super().__init__()
        self.net, self.weights, self.inputs, self.outputs = net, weights, dict(inputs), outputs

    def _transform(self, dataset):
        net, weights, inputs = self.net, self.weights, self.inputs
        blobs = net.inputs("test")
        inputs = {blob: column for blob, column in inputs.items() if blob in blobs}
        labels = [blob for blob in blobs if net.classes(blob, "test")]
        columns, specs = select(dataset, net, inputs, "test", optional=labels)
        lacking = [blob for blob in blobs if blob not in [spec["name"] for spec in specs]]
        added = _output_columns(net, self.outputs)
        fields = [
            StructField(name, DoubleType() if argmax else FloatType() if count == 1 else ArrayType(FloatType()))
            for _, name, argmax, count in added
        ]
        for field in fields:
            if field.name in dataset.columns:
                raise sparknet.Error(f'outputs: the frame has a column "{field.name}" already')
        schema = StructType(dataset.schema.fields + fields)
        transforms, width = transforms_of(inputs), len(dataset.columns)
        packed = dataset.sparkSession.sparkContext.broadcast(weights)
        # What goes into the net stands behind the frame's own columns, under names that none of them has.
        prefix = "__sparknet_"
        wanted = dataset.select("*", *(column.alias(prefix + spec["name"]) for column, spec in zip(columns, specs)))
        specs = [{**spec, "column": prefix + spec["name"]} for spec in specs]
        specs += [{"name": blob, "column": prefix + blob, "classes": 1} for blob in lacking]

        def run(batches):
            made = None
            for batch in batches:
                with reported(TaskContext.get().partitionId()):
                    if made is None:
                        made = sparknet.Net(
                            net,
                            "test",
                            threads=TaskContext.get().cpus(),
                            keep=[blob for blob, *_ in added],
                            freeze=True,
                        )
                        made.set_weights(packed.value)
                    yield _with_blobs(made, batch, width, specs, lacking, prefix, transforms, added)

        return wanted.mapInArrow(run, schema)

    def _save_files(self, folder):
        net = sparknet.Net(self.net, "train", threads=1)
        net.set_weights(self.weights)
        net.save(os.path.join(folder, "weights.caffemodel"))
        write_text(os.path.join(folder, "net.prototxt"), self.net.to_prototxt())
        write_text(os.path.join(folder, "model.json"), to_json({"inputs": self.inputs, "outputs": self.outputs}))

    @classmethod
    def _load_files(cls, folder):
        param = sparknet.NetParam.read(os.path.join(folder, "net.prototxt"))
        net = sparknet.Net(param, "train", threads=1)
        net.load(os.path.join(folder, "weights.caffemodel"))
        more = json.loads(read_text(folder, "model.json"))
        return cls(param, net.weights(), more["inputs"], more["outputs"])


def _with_blobs(net, batch, width, specs, lacking, prefix, transforms, added):
    """A record batch with the blobs of its rows behind its own columns."""
    rows = batch.num_rows
    arrays = [batch.column(i) for i in range(width)]
    if rows > 0:
        columns = [pa.array(np.zeros(rows, "i4"))] * len(lacking)
        given = pa.RecordBatch.from_arrays(
            [batch.column(i) for i in range(width, batch.num_columns)] + columns,
            names=batch.schema.names[width:] + [prefix + blob for blob in lacking],
        )
        source = sparknet.Source.from_arrow(pa.Table.from_batches([given]), specs)
        net.set_data(source, random=False, prefetch=0, transforms=transforms)
    results = [np.empty((rows, count), "f4") for *_, count in added]
    done = 0
    while done < rows:
        net.forward()
        for (blob, _, _, count), result in zip(added, results):
            values = net.blob(blob)
            take = min(len(values), rows - done)
            result[done : done + take] = values.reshape(len(values), count)[:take]
        done += take
    for (_, _, argmax, count), result in zip(added, results):
        if argmax:
            arrays.append(pa.array(result.argmax(axis=1).astype("f8")))
        elif count == 1:
            arrays.append(pa.array(result[:, 0]))
        else:
            offsets = pa.array(np.arange(0, (rows + 1) * count, count, dtype="i4"))
            arrays.append(pa.ListArray.from_arrays(offsets, pa.array(result.ravel())))
    names = batch.schema.names[:width] + [name for _, name, _, _ in added]
    return pa.RecordBatch.from_arrays(arrays, names=names)
