"""Collective mode: one barrier stage for a whole training, whose tasks keep their data and solvers and average among
themselves; the driver introduces them to each other, hears of each round, keeps the checkpoint and gets the weights.

They do not meet by BarrierTaskContext.allGather: where the stage ends while one waits in that, Spark 4.3 ends the whole
executor (exit code 50); and where one cannot fetch its partition, Spark tells nobody, who then wait in it for a year in
slots that the next attempt needs. Here the driver sees that a worker is gone, and tells the others."""

import contextlib
import json
import os
import queue
import secrets
import threading
import time
import uuid
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener, answer_challenge, deliver_challenge

import numpy as np
import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark import BarrierTaskContext, InheritableThread

import sparknet

from . import worker as executor
from .driver import library_errors, log, log_round, ordered

_PIECE = 16 << 20
_JOIN_SECONDS = 60


class _Line:
    """A connection for JSON objects, each with bytes behind it; those of a checkpoint go from file to file."""

    def __init__(self, connection, file=None):
        self._connection, self.file = connection, file
        # Whose it is, on the driver.
        self.group = self.rank = None

    def send(self, head, data=b""):
        data = memoryview(data).cast("B")
        self._connection.send_bytes(json.dumps({**head, "bytes": len(data)}).encode())
        for begin in range(0, len(data), _PIECE):
            self._connection.send_bytes(data[begin : begin + _PIECE])

    def send_checkpoint(self, path):
        self.send({"kind": "checkpoint"}, np.memmap(path, "u1", "r"))

    def ask(self, head, data=b""):
        self.send(head, data)
        return self.receive()[0]

    def receive(self):
        head = json.loads(self._connection.recv_bytes())
        left = head["bytes"]
        if head["kind"] == "checkpoint":
            with open(self.file, "wb") as stream:
                while left > 0:
                    left -= stream.write(self._connection.recv_bytes())
                stream.flush()
                os.fsync(stream.fileno())
            return head, None
        data = np.empty(left, "u1")
        while left > 0:
            left -= self._connection.recv_bytes_into(data, len(data) - left)
        return head, data


class _Job:
    """What travels to the tasks."""

    def __init__(self, address, key, checkpoint, net, solver, specs, feed, seed, timeout, averaging):
        self.address, self.key, self.checkpoint = address, key, checkpoint
        self.net, self.solver, self.specs, self.feed, self.seed = net, solver, specs, feed, seed
        self.timeout, self.averaging = timeout, averaging


def _train(job):
    """Of mapInArrow in a barrier stage: a worker of the group."""

    def train(batches):
        context = BarrierTaskContext.get()
        rank = context.partitionId()
        hosts = [task.address.rsplit(":", 1)[0].strip("[]") for task in context.getTaskInfos()]
        with executor.reported(rank), executor.own_folder() as folder, _to_driver(job, folder) as line:
            line.send({"kind": "join", "rank": rank, "size": len(hosts)})
            path, rows = executor.keep_partition(folder, rank, batches)
            if rows == 0:
                raise executor.empty(rank, len(hosts))
            solver = executor.make_solver(job, rank, executor.map_partition(path), context.cpus())

            def all_gather(mine):
                answer = line.ask({"kind": "gather", "line": mine})
                if answer["kind"] == "lost":
                    raise sparknet.Error(answer["why"])
                return answer["lines"]

            with (
                _root_cause_first(),
                sparknet.Communicator(rank, len(hosts), all_gather, host=hosts[rank], timeout=job.timeout) as group,
            ):
                averaging = sparknet.AveragingSolver(solver, group, timeout=job.timeout, **job.averaging)
                with _checkpoint_named(line.file, job.checkpoint):
                    _run(averaging, group, line, rank == 0)
        yield pa.RecordBatch.from_pydict({"worker": pa.array([rank], pa.int32())})

    return train


@contextlib.contextmanager
def _to_driver(job, folder):
    host, port = job.address
    try:
        connection = Client(job.address, authkey=job.key)
    except OSError as error:
        raise sparknet.Error(
            f"the driver is not to be reached at {host}:{port} ({error}); spark.driver.host must be where executors find it"
        ) from None
    with connection:
        yield _Line(connection, os.path.join(folder, "checkpoint"))


@contextlib.contextmanager
def _root_cause_first():
    """Where a group breaks every worker says so; the one that has something else to say is to be whom Spark hears first."""
    try:
        yield
    except sparknet.Error as error:
        if type(error) is sparknet.Error:
            time.sleep(5)
        raise


@contextlib.contextmanager
def _checkpoint_named(copy, checkpoint):
    """What is wrong with the copy of a checkpoint is said of the driver's."""
    try:
        yield
    except sparknet.DataError as error:
        raise sparknet.DataError(str(error).replace(copy, str(checkpoint))) from None


def _run(averaging, group, line, speaks):
    """Trains to the end. The worker that speaks to the driver does so for all."""
    begun = line.ask({"kind": "begin"})["kind"] if speaks else None
    finished, found = group.broadcast(np.uint8([begun == "finished", begun == "checkpoint"]))
    if found:
        averaging.restore(line.file)
    stop, last = finished or averaging.done, time.perf_counter()
    while not stop:
        stats = averaging.round()
        told = np.zeros(2, "u1")
        if speaks:
            now = time.perf_counter()
            phases = {"train": stats["seconds"], **{name: stats.pop(name) for name in ("wait", "exchange", "apply")}}
            stats["wall"], last = now - last, now
            phases["driver"] = max(0.0, stats["wall"] - sum(phases.values()))
            answer = line.ask({"kind": "round", "stats": {**stats, "phases": phases}, "done": averaging.done})
            told[:] = answer["stop"], answer["checkpoint"]
        stop, save = group.broadcast(told)
        if save:
            averaging.snapshot(line.file)
            if speaks:
                line.send_checkpoint(line.file)
                line.receive()
        stop = stop or averaging.done
    if speaks and not finished:
        weights = averaging.weights()
        line.ask({"kind": "weights", "dtype": weights.dtype.str}, weights)


class _Group:
    """The workers of one attempt of the stage, until all know each other."""

    def __init__(self, size):
        self.size, self.members, self.lines, self.lost = size, {}, {}, False
        # They are started together, so that one that has not come by then had an end before it could say so.
        self._deadline = time.monotonic() + _JOIN_SECONDS

    def takes(self, rank):
        return not self.lost and rank not in self.members

    def join(self, rank, line):
        line.group, line.rank, self.members[rank] = self, rank, line

    def gather(self, rank, text):
        """One more that waits for the lines of all."""
        self.lines[rank] = text
        if self.lost:
            _send(self.members[rank], {"kind": "lost", "why": self.lost})
        elif len(self.lines) == self.size:
            self._answer({"kind": "lines", "lines": [self.lines[rank] for rank in range(self.size)]})

    def lose(self, why):
        if not self.lost and len(self.lines) < self.size:
            self.lost = why
            self._answer({"kind": "lost", "why": why})

    def check_time(self):
        missing = [rank for rank in range(self.size) if rank not in self.members]
        if missing and time.monotonic() > self._deadline:
            self.lose(f"workers {missing} of {self.size} did not come within {_JOIN_SECONDS} s of the others")

    def _answer(self, answer):
        for rank in self.lines:
            _send(self.members[rank], answer)


def _send(line, head):
    with contextlib.suppress(OSError):  # its task is gone, and whoever hears that says so
        line.send(head)


class _Driver:
    """Hears the workers of one attempt of the stage after the other."""

    def __init__(self, context, checkpoint, checkpoint_every, callback):
        self._checkpoint, self._every, self._callback = checkpoint, checkpoint_every, callback
        self._events, self._group, self._weights = queue.SimpleQueue(), None, None
        self.key = secrets.token_bytes(32)
        conf = context.getConf()
        host = conf.get("spark.driver.host")
        self._listener = Listener((conf.get("spark.driver.bindAddress", host), 0), backlog=128)
        self.address = (host, self._listener.address[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                threading.Thread(target=self._hear, args=(self._listener.accept(),), daemon=True).start()

    def _hear(self, connection):
        line = _Line(connection, self._checkpoint and f"{self._checkpoint}.{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(AuthenticationError, EOFError, OSError):  # it is none of ours, or its task has ended
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            while True:
                self._events.put((line, *line.receive()))
        self._events.put((line, {"kind": "end"}, None))

    def run(self, work):
        """Calls `work`, which runs the job, in another thread; returns the weights when it has."""
        InheritableThread(target=self._work, args=(work,), daemon=True).start()
        while True:
            try:
                line, head, data = self._events.get(timeout=1)
            except queue.Empty:
                if self._group is not None:
                    self._group.check_time()
                continue
            if line is not None:
                self._heard(line, head, data)
            elif head is not None:
                raise head
            else:
                return self._weights

    def _work(self, work):
        failure = None
        try:
            with library_errors():
                work()
        except BaseException as error:
            failure = error
        self._events.put((None, failure, None))

    def _heard(self, line, head, data):
        kind = head["kind"]
        if kind == "join":
            if self._group is None or not self._group.takes(head["rank"]):
                if self._group is not None:
                    self._group.lose("another attempt has begun")
                self._group = _Group(head["size"])
            self._group.join(head["rank"], line)
        elif kind == "gather":
            line.group.gather(line.rank, head["line"])
        elif kind == "end":
            if line.group is not None:
                line.group.lose(f"worker {line.rank} is gone")
            if line.file and os.path.exists(line.file):  # of which not all came
                os.remove(line.file)
        elif kind == "begin":
            self._begin(line)
        elif kind == "round":
            _send(line, self._after(head["stats"], head["done"]))
        elif kind == "checkpoint":
            os.replace(line.file, self._checkpoint)
            _send(line, {"kind": "ok"})
        elif kind == "weights":
            self._weights = data.view(head["dtype"])
            _send(line, {"kind": "ok"})

    def _begin(self, line):
        if self._weights is not None:
            _send(line, {"kind": "finished"})
        elif self._checkpoint and os.path.exists(self._checkpoint):
            log.info("goes on from %s", self._checkpoint)
            with contextlib.suppress(OSError):
                line.send_checkpoint(self._checkpoint)
        else:
            _send(line, {"kind": "fresh"})

    def _after(self, stats, done):
        log_round(stats)
        stop = self._callback is not None and self._callback(stats) is False
        due = done or stop or (stats["round"] + 1) % self._every == 0
        return {"kind": "ok", "stop": stop, "checkpoint": bool(self._checkpoint and due)}


def _require_slots(context, workers):
    """Refuses a group for which there is no room: Spark 4.3 ends the whole session over it. Executors may yet come."""
    scheduler = context._jsc.sc()
    deadline = time.monotonic() + (0 if context.master.startswith("local[") else _JOIN_SECONDS)
    while True:
        slots = scheduler.maxNumConcurrentTasks(scheduler.resourceProfileManager().defaultResourceProfile())
        if slots >= workers:
            return
        if time.monotonic() >= deadline:
            raise sparknet.Error(
                f"a group of {workers} workers needs as many slots at the same time, and there are {slots}; take fewer "
                'workers, or mode="rounds", in which they take turns'
            )
        time.sleep(0.5)


def train(frame, net, solver, specs, feed, *, seed, checkpoint_dir, checkpoint_every, callback, timeout, **averaging):
    """The weights after solver.max_iter iterations."""
    checkpoint = None
    if checkpoint_dir is not None:
        os.makedirs(checkpoint_dir, exist_ok=True)
        checkpoint = os.path.join(checkpoint_dir, "collective.snap")
    context = frame.sparkSession.sparkContext
    _require_slots(context, frame.rdd.getNumPartitions())
    driver = _Driver(context, checkpoint, checkpoint_every, callback)
    tag = f"sparknet-{uuid.uuid4().hex[:12]}"
    job = _Job(driver.address, driver.key, checkpoint, net, solver, specs, feed, seed, timeout, averaging)

    def work():
        context.addJobTag(tag)
        # Only a stage that others need is tried again by Spark where a task of a barrier fails.
        ordered(frame).mapInArrow(_train(job), "worker int", barrier=True).repartition(1).collect()

    try:
        return driver.run(work)
    except BaseException:
        with contextlib.suppress(Py4JError):  # which would hide what has happened
            context.cancelJobsWithTag(tag)
        raise
    finally:
        driver.close()
