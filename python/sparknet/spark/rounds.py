"""Rounds mode: one Spark job for each round of averaging SGD, of tasks that keep nothing and may run again."""

import contextlib
import math
import os
import pickle
import time
import uuid

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel, TaskContext
from pyspark.errors import PySparkException

import sparknet

from . import worker as executor
from .driver import library_errors, log, log_round, ordered

_SLICE_BYTES = 8 << 20
_ATTEMPTS = 4


def _fill(job):
    """Of mapInArrow: keeps the partition in a file and says where."""

    def fill(batches):
        worker = TaskContext.get().partitionId()
        with executor.reported(worker):
            path, rows = executor.keep_partition(executor.folder_of(job), worker, batches)
            checksum = executor.checksum_of(path)
        yield pa.RecordBatch.from_pydict(
            {
                "worker": pa.array([worker], pa.int32()),
                "path": pa.array([path]),
                "rows": pa.array([rows], pa.int64()),
                "checksum": pa.array([checksum], pa.int64()),
            }
        )

    return fill


def _round(job, task):
    def run(rows):
        cpus = TaskContext.get().cpus()
        for row in list(rows):
            yield from executor.run_round(job, task.value, row, cpus)

    return run


def _forget(job):
    def forget(rows):
        for row in rows:
            executor.forget(job, row["path"])

    return forget


def keeping(frame, id):
    """An RDD of a row for each partition, which writes the partition to a file where it is computed. Persisted, its
    blocks lie where the files are: so rounds run there, and read a row instead of a partition. It is made once for a
    training, as another might have another number of partitions."""
    return ordered(frame).mapInArrow(_fill(id), "worker int, path string, rows long, checksum long").rdd


class Rounds:
    """Trains on the partitions of a frame, as keeping() has them: partition i is worker i's."""

    def __init__(self, id, anchor, net, solver, specs, feed, seed, codec, master):
        self._anchor, self._master, self._context = anchor, master, anchor.context
        self._workers = anchor.getNumPartitions()
        elements = master.info["elements"]
        self._job = executor.Job(
            id,
            net,
            solver,
            specs,
            feed,
            seed,
            codec,
            elements,
            max(1, math.ceil(4 * elements / _SLICE_BYTES)),
        )
        self._kept = {}

    def __enter__(self):
        self._anchor.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            with library_errors():
                self._check_kept(row.asDict() for row in self._anchor.collect())
        except BaseException:
            self._anchor.unpersist()
            # To ask the anchor where its files are would compute again what has just failed. Spark removes what these
            # tasks, which run anywhere, do not find.
            with contextlib.suppress(Py4JJavaError, PySparkException):
                tasks = 4 * self._context.defaultParallelism
                self._context.parallelize(range(tasks), tasks).foreach(executor.remove_folder_of(self._job.id))
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Py4JJavaError, PySparkException):
            self._anchor.foreachPartition(_forget(self._job.id))
        self._anchor.unpersist()

    def _check_kept(self, rows):
        """Refuses partitions that Spark computed again, with another result."""
        for row in rows:
            if row["rows"] == 0:
                raise executor.empty(row["worker"], self._workers)
            known = self._kept.setdefault(row["worker"], (row["rows"], row["checksum"]))
            if known != (row["rows"], row["checksum"]):
                raise sparknet.DataError(
                    f"partition {row['worker']} had {known[0]} rows, and computed again it has {row['rows']} or others: "
                    "the frame yields other rows each time; checkpoint it, or write and read it, before fit"
                )

    def run(self):
        """One round. Returns its statistics, with the seconds of each phase."""
        start = time.perf_counter()
        # The task's bytes lie in the library's memory and are written from there.
        task = self._context.broadcast(pickle.PickleBuffer(self._master.task()))
        task._value = None
        broadcast = time.perf_counter()
        try:
            for attempt in range(_ATTEMPTS):
                whole, times, missing, merge = self._collect(task)
                if not missing:
                    break
                log.info("round %d: the data of workers %s is kept anew", self._master.round, sorted(set(missing)))
                # Without its blocks the anchor is computed in the round's own tasks, so the files are where those run.
                self._anchor.unpersist(blocking=True)
                self._anchor.persist(StorageLevel.MEMORY_AND_DISK)
            else:
                raise sparknet.Error(
                    f"the files of partitions {sorted(set(missing))} were gone {_ATTEMPTS} times; tasks run elsewhere than "
                    "their data: raise spark.locality.wait"
                )
        finally:
            task.destroy()
        job = time.perf_counter()
        self._check_kept(times)
        stats = self._master.apply([whole])
        end = time.perf_counter()

        slowest = max(times, key=lambda t: t["set"] + t["train"] + t["encode"])
        phases = {"broadcast": broadcast - start, **{p: slowest[p] for p in ("set", "train", "encode")}, "merge": merge}
        phases["spark"] = max(0.0, job - broadcast - sum(slowest[p] for p in ("set", "train", "encode")) - merge)
        phases["apply"] = end - job
        stats["phases"], stats["wall"] = phases, end - start
        log_round(stats)
        return stats

    def _collect(self, task):
        """Runs the workers, sums their contributions slice by slice where the slices are brought together, and joins the
        sums one after the other: one net's bytes, whatever the number of workers."""
        slices = self._job.slices
        merged = (
            self._anchor.mapPartitions(_round(self._job, task))
            .partitionBy(slices, int)
            .mapPartitions(executor.merge_slices)
        )
        joiner, times, missing, merge = sparknet.Joiner(), [], [], 0.0
        with library_errors():
            for data, more, lost, seconds in merged.toLocalIterator(prefetchPartitions=slices > 1):
                times += more
                missing += lost
                merge += seconds
                if missing:
                    continue
                joiner.add(sparknet.Contribution.decode(data))
        return (None if missing else joiner.take()), times, missing, merge


def train(frame, net, solver, specs, feed, *, seed, codec, checkpoint_dir, checkpoint_every, callback, **averaging):
    """The weights after solver.max_iter iterations."""
    id = uuid.uuid4().hex[:12]
    anchor = keeping(frame, id)
    workers = anchor.getNumPartitions()
    carries = None if codec == "exact" else "differences"
    master = sparknet.Master(solver, net, workers=workers, seed=seed, carries=carries, **averaging)
    checkpoint = None
    if checkpoint_dir is not None:
        os.makedirs(checkpoint_dir, exist_ok=True)
        checkpoint = os.path.join(checkpoint_dir, "rounds.snap")
        if os.path.exists(checkpoint):
            master.restore(checkpoint)
            log.info("goes on from round %d in %s", master.round, checkpoint)
    with Rounds(id, anchor, net, solver, specs, feed, seed, codec, master) as rounds:
        while not master.done:
            stats = rounds.run()
            if checkpoint and (master.round % checkpoint_every == 0 or master.done):
                master.snapshot(checkpoint)
            if callback is not None and callback(stats) is False:
                break
    return master.weights()
