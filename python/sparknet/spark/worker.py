"""What runs in the executors: keeps partitions in files, runs rounds on them, merges. Nothing here knows a DataFrame."""

import collections
import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
import zlib

import pyarrow as pa

import sparknet

_MARK = "SPARKNET-WORKER-ERROR"


class Job:
    """What all rounds of a training have in common; it travels with the tasks."""

    def __init__(self, id, net, solver, specs, feed, seed, codec, elements, slices):
        self.id, self.net, self.solver, self.specs = id, net, solver, specs
        self.feed, self.seed, self.codec = feed, seed, codec
        self.elements, self.slices = elements, slices


@contextlib.contextmanager
def reported(worker):
    """What goes wrong in a task, in words that the driver finds again in whatever Spark makes of them."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, sparknet.Error)
        report = {
            "kind": type(error).__name__ if known else "Error",
            "message": str(error) if known else f"{type(error).__name__}: {error}",
            "worker": worker,
            "host": socket.gethostname(),
        }
        raise RuntimeError(f"{_MARK}{json.dumps(report)}{_MARK}") from error


def error_of(failure):
    """The library's error that a failed Spark job is about; None where it is about something else."""
    parts = str(failure).split(_MARK)
    if len(parts) < 3:
        return None
    report = json.loads(parts[1])
    kind = getattr(sparknet, report["kind"], sparknet.Error)
    return kind(f"worker {report['worker']} on {report['host']}: {report['message']}")


def empty(worker, workers):
    return sparknet.DataError(
        f"partition {worker} of {workers} is empty, and each is a worker's; take fewer workers, or repartition the frame"
    )


def _local_folder():
    """Of this executor's own: Spark removes it with the executor."""
    return os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or tempfile.gettempdir()


def _path_of(job):
    return os.path.join(_local_folder(), f"sparknet-{job}")


def folder_of(job):
    """Of all tasks of a job in this executor."""
    folder = _path_of(job)
    os.makedirs(folder, exist_ok=True)
    return folder


def remove_folder_of(job):
    """A task that removes it, where it is."""
    return lambda _: shutil.rmtree(_path_of(job), ignore_errors=True)


def own_folder():
    """Of this task alone, which is gone with it: a context manager."""
    return tempfile.TemporaryDirectory(prefix="sparknet-", dir=_local_folder())


def checksum_of(path):
    checksum = 0
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def keep_partition(folder, worker, batches):
    """Writes a partition's record batches to a file that is whole or not there: its path and how many rows it has."""
    path = os.path.join(folder, f"{worker}.arrow")
    rows = 0
    making = f"{path}.{os.getpid()}"
    try:
        with open(making, "wb") as stream:
            writer = None
            for batch in batches:
                if writer is None:
                    writer = pa.ipc.new_file(stream, batch.schema)
                writer.write_batch(batch)
                rows += batch.num_rows
            if writer is not None:
                writer.close()
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(making, path)
    finally:
        if os.path.exists(making):
            os.remove(making)
    return path, rows


class Missing(Exception):
    """A partition's file is not where this task runs."""


def map_partition(path):
    try:
        return pa.ipc.open_file(pa.memory_map(path)).read_all()
    except FileNotFoundError:
        raise Missing(path) from None


# Solvers that this process has made: making one anew gives the same bits, only later. A process has several workers'
# where there are more workers than it; large nets' are few.
_solvers = collections.OrderedDict()
_SOLVER_BYTES = 1 << 30


def make_solver(job, worker, table, cpus):
    """A worker's solver, which has its partition, and the seed that AveragingSolver gives this rank."""
    solver = sparknet.Solver(job.solver, job.net, threads=cpus, seed=job.seed + (worker << 32))
    solver.set_data(sparknet.Source.from_arrow(table, job.specs), **job.feed)
    return solver


def _solver_for(job, worker, path, cpus):
    key = (job.id, worker, path)
    if key in _solvers:
        if os.path.exists(path):
            _solvers.move_to_end(key)
            return _solvers[key]
        del _solvers[key]
    table = map_partition(path)
    # Weights, gradients and history.
    most = max(1, _SOLVER_BYTES // max(1, 12 * job.elements))
    for other in [k for k in _solvers if k[0] != job.id]:
        del _solvers[other]
    while len(_solvers) >= most:
        _solvers.popitem(last=False)
    solver = make_solver(job, worker, table, cpus)
    _solvers[key] = solver
    return solver


def run_round(job, task, row, cpus):
    """One worker's part of a round: pairs of a slice's number and (bytes, report or None). The only pair is (0, (None,
    report)) where the partition's file is not here."""
    worker, path = row["worker"], row["path"]
    start = time.perf_counter()
    with reported(worker):
        try:
            solver = _solver_for(job, worker, path, cpus)
        except Missing:
            yield 0, (None, {"worker": worker})
            return
        contribution = solver.round(task, worker)
        trained = time.perf_counter()
        train = contribution.info["seconds"] or 0.0
        times = {**row.asDict(), "set": trained - start - train, "train": train}
        for number in range(job.slices):
            begin = time.perf_counter()
            encoded = bytes(contribution.encode(slice=number, slices=job.slices, codec=job.codec))
            times["encode"] = times.get("encode", 0.0) + time.perf_counter() - begin
            yield number, (encoded, times if number == job.slices - 1 else None)


def merge_slices(pairs):
    """The workers' slices of one number, in one: (bytes, reports of workers, workers without data, seconds)."""
    parts, times, missing = [], [], []
    start = time.perf_counter()
    for _, (encoded, more) in pairs:
        if encoded is None:
            missing.append(more["worker"])
        else:
            parts.append(sparknet.Contribution.decode(encoded))
            if more:
                times.append(more)
    if missing or not parts:
        yield None, times, missing, 0.0
        return
    with reported("merging"):
        merged = bytes(sparknet.merge(parts).encode())
    yield merged, times, missing, time.perf_counter() - start


def forget(job, path):
    """Removes what a training left here."""
    for key in [k for k in _solvers if k[0] == job]:
        del _solvers[key]
    with contextlib.suppress(OSError):
        os.remove(path)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))
