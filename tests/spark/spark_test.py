"""sparknet.spark on real Spark: on threads of one process, and on executors that are processes of their own."""

import contextlib
import gzip
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import warnings

import numpy as np
import pyarrow as pa
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sparknet
from sparknet.layers import (
    ConvolutionLayer,
    DropoutLayer,
    InnerProductLayer,
    PoolingLayer,
    RDDLayer,
    ReLULayer,
    SoftmaxWithLoss,
)
from sparknet.spark import SparkNetEstimator, SparkNetModel, collective, driver, rounds

warnings.filterwarnings("ignore", category=FutureWarning)


def start(master):
    session = (
        SparkSession.builder.master(master)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.python.worker.faulthandler.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    return session


def small_net(batch=8, hidden=50):
    return sparknet.NetParam(
        "small",
        RDDLayer("data", [batch, 6]),
        RDDLayer("label", [batch]),
        InnerProductLayer("ip1", ["data"], num_output=hidden),
        ReLULayer("relu1", ["ip1"]),
        DropoutLayer("drop1", ["relu1"], ratio=0.3),
        InnerProductLayer("ip2", ["drop1"], num_output=3),
        SoftmaxWithLoss("loss", ["ip2", "label"]),
    )


def small_data(rows=120, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 6)).astype("f4")
    return x, (np.abs(x[:, :3]).argmax(axis=1)).astype("i4")


def solver(max_iter=30, base_lr=0.05, **more):
    return sparknet.SolverParam(base_lr=base_lr, momentum=0.9, max_iter=max_iter, **more)


INPUTS = {"data": "x", "label": "label"}


def frame_of(session, partitions, rows=120):
    x, label = small_data(rows)
    table = pa.table({"x": pa.array(list(x)), "label": pa.array(label)})
    return session.createDataFrame(table).repartition(partitions).persist()


def solvers_of(frame, net, param, workers, seed=1):
    """Those of the workers, on the partitions' rows in their order."""
    parts = [[] for _ in range(workers)]
    for row in driver.ordered(frame).withColumn("partition", F.spark_partition_id()).toLocalIterator():
        parts[row["partition"]].append(row)
    solvers = []
    for worker, rows in enumerate(parts):
        one = sparknet.Solver(param, net, threads=1, seed=seed + (worker << 32))
        data = np.array([list(row["x"]) for row in rows], "f4")
        label = np.array([row["label"] for row in rows], "i4")
        one.set_data(sparknet.Source.from_arrays(data=data, label=label), shuffle=True, seed=seed)
        solvers.append(one)
    return solvers


def group_in_process(frame, net, param, workers, **averaging):
    """What a group of threads makes of the same training."""
    lines, everybody, weights = [None] * workers, threading.Barrier(workers, timeout=60), [None] * workers

    def work(rank, one):
        def all_gather(line):
            lines[rank] = line
            everybody.wait()
            return list(lines)

        with sparknet.Communicator(rank, workers, all_gather, host="127.0.0.1") as group:
            averaged = sparknet.AveragingSolver(one, group, **averaging)
            while not averaged.done:
                averaged.round()
            weights[rank] = averaged.weights()

    threads = [
        threading.Thread(target=work, args=pair) for pair in enumerate(solvers_of(frame, net, param, workers))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return weights[0]


def in_process(frame, net, param, workers, seed=1, **averaging):
    """The same training without Spark."""
    master = sparknet.Master(param, net, workers=workers, seed=seed, **averaging)
    solvers = solvers_of(frame, net, param, workers, seed)
    while not master.done:
        task = master.task()
        master.apply([one.round(task, worker) for worker, one in enumerate(solvers)])
    return master.weights()


class OnSpark:
    """What holds on every master."""

    @classmethod
    def setUpClass(cls):
        cls.spark = start(cls.master)

    @classmethod
    def tearDownClass(cls):
        cls.spark.stop()

    def fit(self, frame, param=None, net=None, **more):
        more = {"tau": 5, **more}
        return SparkNetEstimator(net=net or small_net(), solver=param or solver(), inputs=INPUTS, **more).fit(frame)

    def test_weights_are_those_of_the_same_rounds_in_one_process(self):
        slices = rounds._SLICE_BYTES
        self.addCleanup(setattr, rounds, "_SLICE_BYTES", slices)
        for partitions, slice_bytes, more, averaging in (
            (2, slices, {}, {}),
            (4, 1024, {"solver_state": "average"}, {"history": "average"}),
            (4, slices, {"outer": "diloco", "weighting": "uniform"}, {"outer": "diloco", "weighting": "uniform"}),
        ):
            with self.subTest(partitions=partitions, slice_bytes=slice_bytes, **more):
                rounds._SLICE_BYTES = slice_bytes
                frame = frame_of(self.spark, partitions)
                model = self.fit(frame, **more)
                expected = in_process(frame, small_net(), solver(), partitions, tau=5, **averaging)
                np.testing.assert_array_equal(model.weights, expected)

    def test_files_that_are_gone_are_made_again(self):
        frame = frame_of(self.spark, 3)
        expected = in_process(frame, small_net(), solver(), 3, tau=5)
        removed = []

        def remove(stats):
            if stats["round"] in (1, 3):
                for file in pathlib.Path(tempfile.gettempdir()).rglob("sparknet-*/*.arrow"):
                    file.unlink()
                    removed.append(file)

        np.testing.assert_array_equal(self.fit(frame, callback=remove).weights, expected)
        self.assertGreaterEqual(len(removed), 3)

    def test_values_that_cannot_be_are_reported_in_the_library_s_words(self):
        frame = frame_of(self.spark, 2)
        wrong = frame.withColumn("label", F.expr("if(x[0] > 1, 7, label)"))
        with self.assertRaisesRegex(
            sparknet.DataError, r'worker \d on .*: column "label": row \d+ is 7, and a label is .* from 0 to 2'
        ):
            self.fit(wrong)
        with self.assertRaisesRegex(sparknet.DataError, r'column "data": row \d+ is null; shape \[6\] wants 6'):
            self.fit(frame.withColumn("x", F.expr("if(x[0] > 1, null, x)")))
        with self.assertRaisesRegex(
            sparknet.DataError, r'column "data": row \d+ has 5 numbers, and shape \[6\] wants 6'
        ):
            self.fit(frame.withColumn("x", F.expr("slice(x, 1, 5)")))

    def test_native_code_that_throws_in_a_task_is_reported(self):
        with self.assertRaisesRegex(sparknet.NetError, r'worker \d on .*: net "small" cannot be fed: .*crop'):
            SparkNetEstimator(
                net=small_net(), solver=solver(), inputs={"data": {"column": "x", "crop": 2}, "label": "label"}
            ).fit(frame_of(self.spark, 2))


    def test_a_group_has_the_bits_of_threads_and_of_rounds(self):
        frame = frame_of(self.spark, 2)
        seen = []
        model = self.fit(frame, mode="collective", callback=seen.append)
        expected = group_in_process(frame, small_net(), solver(), 2, tau=5)
        np.testing.assert_array_equal(model.weights, expected)
        self.assertEqual([stats["iteration"] for stats in seen], [5, 10, 15, 20, 25, 30])
        for stats in seen:
            self.assertEqual(list(stats["phases"]), ["train", "wait", "exchange", "apply", "driver"])
            self.assertAlmostEqual(sum(stats["phases"].values()), stats["wall"], delta=1e-6)
        model = self.fit(frame, mode="collective", solver_state="average", outer="diloco")
        expected = in_process(frame, small_net(), solver(), 2, tau=5, history="average", outer="diloco")
        np.testing.assert_array_equal(model.weights, expected)

    def test_a_group_with_gradients_in_common_has_the_bits_of_threads(self):
        frame = frame_of(self.spark, 2)
        model = self.fit(frame, mode="collective", gradients=True)
        expected = group_in_process(frame, small_net(), solver(), 2, tau=5, gradients=True)
        np.testing.assert_array_equal(model.weights, expected)
        # All are the same after every step, so that the length of a round says nothing.
        np.testing.assert_array_equal(self.fit(frame, mode="collective", gradients=True, tau=10).weights, expected)
        self.assertFalse(np.array_equal(self.fit(frame, mode="collective").weights, expected))

    def test_what_a_member_of_a_group_refuses_is_reported(self):
        frame = frame_of(self.spark, 2)
        wrong = frame.withColumn("label", F.expr("if(spark_partition_id() = 1 and x[0] > 1, 7, label)"))
        with self.assertRaisesRegex(
            sparknet.DataError, r'worker 1 on .*: column "label": row \d+ is 7, and a label is .* from 0 to 2'
        ):
            self.fit(wrong, mode="collective")
        with self.assertRaisesRegex(sparknet.Error, "finite after the round: the learning rate may be too high"):
            self.fit(frame, solver(base_lr=1e30), mode="collective")


class Meeting(unittest.TestCase):
    """How the driver introduces the workers of a group, without Spark."""

    class Line:
        def __init__(self):
            self.heard = []

        def send(self, head):
            self.heard.append(head)

    def join(self, group, *ranks):
        lines = {rank: self.Line() for rank in ranks}
        for rank, line in lines.items():
            self.assertTrue(group.takes(rank))
            group.join(rank, line)
        return lines

    def test_all_get_the_lines_of_all(self):
        group = collective._Group(2)
        lines = self.join(group, 1, 0)
        group.gather(1, "b")
        self.assertEqual(lines[1].heard, [])
        group.gather(0, "a")
        for line in lines.values():
            self.assertEqual(line.heard, [{"kind": "lines", "lines": ["a", "b"]}])
        group.lose("now they notice by themselves")
        self.assertEqual(len(lines[0].heard), 1)

    def test_nobody_waits_for_one_that_is_gone(self):
        group = collective._Group(3)
        lines = self.join(group, 0, 1, 2)
        group.gather(0, "a")
        group.lose("worker 1 is gone")
        group.gather(2, "c")
        for rank in (0, 2):
            self.assertEqual(lines[rank].heard, [{"kind": "lost", "why": "worker 1 is gone"}])
        self.assertFalse(group.takes(1))

    def test_nor_for_one_that_never_came(self):
        group = collective._Group(3)
        lines = self.join(group, 2)
        group.gather(2, "c")
        group.check_time()
        self.assertEqual(lines[2].heard, [])
        group._deadline -= collective._JOIN_SECONDS
        group.check_time()
        self.assertRegex(lines[2].heard[0]["why"], r"workers \[0, 1\] of 3 did not come within 60 s")
        self.assertFalse(collective._Group(1).lost)


class Local(OnSpark, unittest.TestCase):
    master = "local[2]"

    def test_a_group_goes_on_from_its_checkpoint(self):
        frame = frame_of(self.spark, 2)
        with tempfile.TemporaryDirectory() as folder:
            more = {"mode": "collective", "checkpoint_dir": folder, "checkpoint_every": 100}
            self.fit(frame, callback=lambda stats: stats["round"] < 2, **more)
            seen = []
            resumed = self.fit(frame, callback=seen.append, **more)
            self.assertEqual([stats["round"] for stats in seen], [3, 4, 5])
            np.testing.assert_array_equal(resumed.weights, self.fit(frame, mode="collective").weights)
            # There is nothing left to do.
            np.testing.assert_array_equal(self.fit(frame, callback=seen.append, **more).weights, resumed.weights)
            self.assertEqual(len(seen), 3)
            self.assertEqual(os.listdir(folder), ["collective.snap"])
            with self.assertRaisesRegex(sparknet.DataError, f"worker . on .*: {folder}/collective.snap.* parameter"):
                self.fit(frame, net=small_net(hidden=51), **more)

    def test_what_a_callback_of_a_group_raises_ends_the_training(self):
        def callback(stats):
            raise KeyError("mine")

        with self.assertRaisesRegex(KeyError, "mine"):
            self.fit(frame_of(self.spark, 2), mode="collective", callback=callback)
        self.fit(frame_of(self.spark, 2), mode="collective")  # the slots are free

    def test_mistakes_are_found_before_anything_runs(self):
        frame = frame_of(self.spark, 2)

        def refused(words, kind=sparknet.DataError, **more):
            with self.assertRaisesRegex(kind, words):
                SparkNetEstimator(**{"net": small_net(), "solver": solver(), "inputs": INPUTS, **more}).fit(frame)

        refused(
            'column "image", .* input "data": the frame has no such column; it has x, label', inputs={"data": "image"}
        )
        refused('no column is given for the net\'s input "label"', inputs={"data": "x"})
        refused('the net has no input "lable"', inputs={"data": "x", "lable": "label"})
        refused('mode is "round"', kind=sparknet.Error, mode="round")
        refused('solver_state is "keep"; there are reset, average', kind=sparknet.Error, solver_state="keep")
        refused("quorum and codec are of mode", kind=sparknet.Error, mode="collective", codec="bf16")
        refused('gradients is of mode="collective"', kind=sparknet.Error, gradients=True)
        words = 'a group of 4 workers needs as many slots at the same time, and there are 2; .* mode="rounds"'
        refused(words, kind=sparknet.Error, mode="collective", num_workers=4)
        text = frame.withColumn("x", F.lit("words"))
        with self.assertRaisesRegex(sparknet.DataError, "it holds string; numbers, arrays"):
            self.fit(text)
        with self.assertRaisesRegex(sparknet.DataError, "partition . of 200 is empty"):
            self.fit(frame.repartition(200))

    def test_a_frame_that_changes_when_computed_again_is_refused(self):
        frame = frame_of(self.spark, 2)
        changing = F.udf(lambda v: [a + time.time() % 1 for a in v], "array<float>").asNondeterministic()

        def remove(stats):
            for file in pathlib.Path(tempfile.gettempdir()).rglob("sparknet-*/*.arrow"):
                file.unlink()

        with self.assertRaisesRegex(sparknet.DataError, "the frame yields other rows each time"):
            self.fit(frame.withColumn("x", changing("x")), callback=remove)

    def test_what_was_kept_is_removed_where_a_frame_is_refused(self):
        def kept():
            return set(pathlib.Path(tempfile.gettempdir()).rglob("sparknet-*/*.arrow"))

        def persisted():
            return self.spark.sparkContext._jsc.getPersistentRDDs().size()

        before = kept(), persisted()
        x, label = small_data()
        frame = self.spark.createDataFrame(pa.table({"x": pa.array(list(x)), "label": pa.array(label)}))
        with self.assertRaisesRegex(sparknet.DataError, "is empty"):
            self.fit(frame.withColumn("same", F.lit(1)).repartition(4, "same"))
        self.assertEqual((kept(), persisted()), before)

    def test_a_frame_that_is_not_persisted_is_computed_once(self):
        x, label = small_data()
        frame = self.spark.createDataFrame(pa.table({"x": pa.array(list(x)), "label": pa.array(label)}))
        computed = self.spark.sparkContext.accumulator(0)

        def count(value):
            computed.add(1)
            return value

        self.fit(frame.withColumn("label", F.udf(count, "int")("label")).repartition(2))
        self.assertEqual(computed.value, 120)

    def test_vectors_bytes_and_numbers_are_inputs(self):
        x, label = small_data()
        table = {f"x{i}": pa.array(x[:, i]) for i in range(6)}
        frame = self.spark.createDataFrame(pa.table({**table, "label": pa.array(label.astype("i8"))})).coalesce(1)
        vectors = VectorAssembler(inputCols=[f"x{i}" for i in range(6)], outputCol="x").transform(frame)
        arrays = frame.withColumn("x", F.array(*[f"x{i}" for i in range(6)]))
        np.testing.assert_array_equal(self.fit(vectors).weights, self.fit(arrays).weights)
        self.assertRaises(sparknet.DataError, self.fit, arrays.withColumn("label", F.lit(2**40)))

        pixels = np.random.default_rng(1).integers(0, 255, (60, 6)).astype("u1")
        table = pa.table({"x": pa.array([p.tobytes() for p in pixels]), "label": pa.array(label[:60])})
        bytes_frame = self.spark.createDataFrame(table).coalesce(1)
        expected = in_process(bytes_frame, small_net(), solver(), 1, tau=5)
        np.testing.assert_array_equal(self.fit(bytes_frame).weights, expected)

    def test_the_tour_of_the_docs_runs(self):
        text = (pathlib.Path(__file__).parents[2] / "docs" / "spark.md").read_text(encoding="utf-8")
        code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
        images = np.random.default_rng(1).integers(0, 255, (256, 784)).astype("u1")
        labels = pa.array(np.arange(256, dtype="i4") % 10)
        frame = self.spark.createDataFrame(
            pa.table({"image": pa.array([i.tobytes() for i in images]), "label": labels})
        )
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            names = {"train_frame": frame, "test_frame": frame}
            exec(code.replace("max_iter=1000", "max_iter=60").replace("num_workers=8", "num_workers=2"), names)
            self.assertEqual(names["scored"].where("prediction between 0 and 9").count(), 256)
            self.assertTrue(os.path.exists("lenet/weights.caffemodel"))
            os.chdir(here)

    def test_phases_add_up_to_the_round(self):
        seen = []
        self.fit(frame_of(self.spark, 2), callback=seen.append)
        self.assertEqual(len(seen), 6)
        for stats in seen:
            self.assertAlmostEqual(sum(stats["phases"].values()), stats["wall"], delta=1e-3 + 0.05 * stats["wall"])
            self.assertEqual(set(stats["phases"]), {"broadcast", "set", "train", "encode", "merge", "spark", "apply"})

    def test_training_goes_on_from_its_checkpoint(self):
        frame = frame_of(self.spark, 2)
        with tempfile.TemporaryDirectory() as folder:
            more = {"checkpoint_dir": folder, "checkpoint_every": 1}
            self.fit(frame, callback=lambda stats: stats["round"] < 2, **more)
            seen = []
            resumed = self.fit(frame, callback=seen.append, **more)
            self.assertEqual([stats["round"] for stats in seen], [3, 4, 5])
            np.testing.assert_array_equal(resumed.weights, self.fit(frame).weights)

    def test_pipelines_are_saved_and_loaded(self):
        x, label = small_data()
        table = {f"x{i}": pa.array(x[:, i]) for i in range(6)}
        frame = self.spark.createDataFrame(pa.table({**table, "label": pa.array(label)})).coalesce(1)
        vectors = VectorAssembler(inputCols=[f"x{i}" for i in range(6)], outputCol="x")
        options = {"tau": 5, "weighting": "steps", "outputs": {"ip2": "scores"}, "seed": np.int64(3)}
        estimator = SparkNetEstimator(net=small_net(), solver=solver(), inputs=INPUTS, **options)
        pipeline = Pipeline(stages=[vectors, estimator])
        with tempfile.TemporaryDirectory() as folder:
            pipeline.save(f"file:{folder}/pipeline")
            again = Pipeline.load(f"{folder}/pipeline")
            model, from_loaded = pipeline.fit(frame), again.fit(frame)
            np.testing.assert_array_equal(model.stages[1].weights, from_loaded.stages[1].weights)
            model.save(f"{folder}/model")
            loaded = PipelineModel.load(f"{folder}/model")
            self.assertEqual(loaded.stages[1].uid, model.stages[1].uid)
            self.assertEqual(loaded.transform(frame).collect(), model.transform(frame).collect())
            # A file system that is none of this machine's, as far as anybody can see.
            hadoop = self.spark.sparkContext._jsc.hadoopConfiguration()
            hadoop.set("fs.viewfs.mounttable.there.link./store", f"file:{folder}")
            model.save("viewfs://there/store/far")
            far = PipelineModel.load("viewfs://there/store/far")
            np.testing.assert_array_equal(far.stages[1].weights, model.stages[1].weights)
            with self.assertRaisesRegex(sparknet.Error, "is there already"):
                model.stages[1].save("viewfs://there/store/far")
            self.assertEqual(sorted(os.listdir(folder)), ["far", "model", "pipeline"])
            estimator = SparkNetEstimator(net=small_net(), solver=solver(), inputs=INPUTS, callback=print)
            with self.assertRaisesRegex(sparknet.Error, "callback: a function cannot be saved"):
                estimator.save(f"{folder}/estimator")
            self.assertFalse(os.path.exists(f"{folder}/estimator"))

    def test_model_in_a_pipeline_saved_and_loaded(self):
        frame = frame_of(self.spark, 2)
        outputs = {"ip2": "scores", "relu1": "hidden"}
        estimator = SparkNetEstimator(net=small_net(), solver=solver(), inputs=INPUTS, tau=5, outputs=outputs)
        model = Pipeline(stages=[estimator]).fit(frame).stages[-1]
        # 120 rows are no multiple of a batch of 8 in three partitions; the label is not needed.
        rows = model.transform(frame.drop("label").repartition(7)).collect()
        self.assertEqual(len(rows), 120)
        net = sparknet.Net(small_net(batch=120), keep=["relu1"])
        net.set_weights(model.weights)
        x = np.array([row["x"] for row in rows], "f4")
        net.forward(data=x, label=np.zeros(120, "i4"))
        np.testing.assert_allclose(np.array([row["scores"] for row in rows]), net.blob("ip2"), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(np.array([row["hidden"] for row in rows]), net.blob("relu1"), rtol=1e-5, atol=1e-5)

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            model.save(path)
            files = ["metadata", "model.json", "net.prototxt", "weights.caffemodel"]
            self.assertEqual(sorted(os.listdir(path)), files)
            again = SparkNetModel.load(path)
            np.testing.assert_array_equal(again.weights, model.weights)
            self.assertEqual(again.transform(frame).orderBy("x").first(), model.transform(frame).orderBy("x").first())
            with self.assertRaisesRegex(sparknet.Error, "is there already"):
                model.save(path)
            model.write().overwrite().save(path)
            self.assertEqual(os.listdir(folder), ["model"])
        with self.assertRaisesRegex(sparknet.Error, 'the net has no blob "prob"'):
            SparkNetModel(small_net(), model.weights, INPUTS, {"prob": "p"}).transform(frame)


class LocalCluster(OnSpark, unittest.TestCase):
    master = "local-cluster[2,1,1024]"

    def kill_an_executor(self):
        """The JVM and its Python workers, which would live a moment longer."""

        def pids(pattern, parent):
            found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True)
            return [int(pid) for pid in found.stdout.split() if _is_child_of(int(pid), parent)]

        executor = pids("CoarseGrainedExecutorBackend", os.getpid())[0]
        for pid in [executor, *pids("pyspark.daemon", executor)]:
            os.kill(pid, signal.SIGKILL)

    def test_an_executor_killed_in_mid_round_changes_no_bit(self):
        frame = frame_of(self.spark, 4, rows=400)
        net, param = small_net(hidden=2000), solver(max_iter=6000)
        undisturbed = self.fit(frame, param, net, tau=1500).weights
        killed, ends = [], []

        def kill():
            time.sleep(0.4)  # the round has begun, and lasts for seconds
            self.kill_an_executor()
            killed.append(time.perf_counter())

        def after(stats):
            ends.append((time.perf_counter() - stats["wall"], time.perf_counter()))
            if stats["round"] == 0:
                threading.Thread(target=kill).start()

        weights = self.fit(frame, param, net, tau=1500, callback=after).weights
        self.assertEqual(len(killed), 1)
        self.assertTrue(any(begin < killed[0] < end for begin, end in ends[1:]), "it was killed between rounds")
        np.testing.assert_array_equal(weights, undisturbed)

    def test_a_group_whose_executor_is_killed_goes_on_from_its_checkpoint(self):
        frame = frame_of(self.spark, 2)
        undisturbed = self.fit(frame, mode="collective").weights
        seen = []

        def after(stats):  # whose answer the group waits for
            seen.append(stats["round"])
            if stats["round"] == 3 and seen.count(3) == 1:
                self.kill_an_executor()

        with tempfile.TemporaryDirectory() as folder:
            more = {"checkpoint_dir": folder, "checkpoint_every": 2}
            weights = self.fit(frame, mode="collective", callback=after, **more).weights
        self.assertEqual(seen, [0, 1, 2, 3, 2, 3, 4, 5])
        np.testing.assert_array_equal(weights, undisturbed)
        # Without a checkpoint from the beginning.
        seen.clear()
        np.testing.assert_array_equal(self.fit(frame, mode="collective", callback=after).weights, undisturbed)
        self.assertEqual(seen, [0, 1, 2, 3, 0, 1, 2, 3, 4, 5])

    def failures(self):
        """How many tasks failed in the last stage with failures, and which attempt of that it was."""
        tracker = self.spark.sparkContext.statusTracker()
        stages = [stage for job in tracker.getJobIdsForGroup(None) for stage in tracker.getJobInfo(job).stageIds]
        infos = [tracker.getStageInfo(stage) for stage in stages]
        last = max((info for info in infos if info and info.numFailedTasks), key=lambda info: info.stageId)
        return last.numFailedTasks, last.currentAttemptId

    def test_tasks_that_fail_are_tried_again_and_then_reported(self):
        frame = frame_of(self.spark, 2)
        for mode in ("rounds", "collective"):
            with self.subTest(mode=mode), tempfile.TemporaryDirectory() as folder:
                fragile = frame.withColumn("label", failing(folder, times=1)(F.spark_partition_id(), "label"))
                np.testing.assert_array_equal(self.fit(fragile, mode=mode).weights, self.fit(frame, mode=mode).weights)
                self.assertEqual(len(os.listdir(folder)), 1)
            with self.subTest(mode=mode), tempfile.TemporaryDirectory() as folder:
                fragile = frame.withColumn("label", failing(folder, times=100)(F.spark_partition_id(), "label"))
                with self.assertRaisesRegex(Exception, "the disk is full"):
                    self.fit(fragile, mode=mode)
                self.assertEqual(len(os.listdir(folder)), 4)
            with self.subTest(mode=mode):
                wrong = frame.withColumn("label", F.expr("if(spark_partition_id() = 1 and x[0] > 1, 7, label)"))
                with self.assertRaisesRegex(sparknet.DataError, 'worker 1 on .*: column "label": row .* is 7'):
                    self.fit(wrong, mode=mode)
                tasks, attempt = self.failures()
                self.assertEqual(tasks if mode == "rounds" else attempt + 1, 4)


def failing(folder, times):
    """A label's function that fails in partition 1 so many times, each of which leaves a file in the folder."""

    def fail(partition, label):
        if partition == 1 and len(os.listdir(folder)) < times:
            with open(os.path.join(folder, str(time.time_ns())), "w", encoding="utf-8"):
                raise OSError("the disk is full")
        return label

    return F.udf(fail, "int")


def _is_child_of(pid, parent):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while pid > 1:
            if pid == parent:
                return True
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
                pid = int(stream.read().rsplit(")", 1)[1].split()[1])
    return False


def lenet():
    return sparknet.NetParam(
        "LeNet",
        RDDLayer("data", [64, 1, 28, 28]),
        RDDLayer("label", [64]),
        ConvolutionLayer("conv1", ["data"], kernel=5, num_output=20),
        PoolingLayer("pool1", ["conv1"], kernel=2, stride=2),
        ConvolutionLayer("conv2", ["pool1"], kernel=5, num_output=50),
        PoolingLayer("pool2", ["conv2"], kernel=2, stride=2),
        InnerProductLayer("ip1", ["pool2"], num_output=500),
        ReLULayer("relu1", ["ip1"]),
        InnerProductLayer("ip2", ["relu1"], num_output=10),
        SoftmaxWithLoss("loss", ["ip2", "label"]),
    )


def mnist(session, part):
    folder = pathlib.Path(os.environ["SPARKNET_DATA_DIR"]) / "mnist"
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as stream:
        images = np.frombuffer(stream.read(), "u1", offset=16).reshape(-1, 784)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), "u1", offset=8)
    table = pa.table({"image": pa.array([i.tobytes() for i in images]), "label": pa.array(labels.astype("i4"))})
    return session.createDataFrame(table)


@unittest.skipUnless(os.environ.get("SPARKNET_DATA_DIR"), "skipped: SPARKNET_DATA_DIR is not set")
class Mnist(unittest.TestCase):
    def test_lenet_learns_digits(self):
        for master, partitions in (("local[2]", 2), ("local-cluster[2,1,1024]", 4)):
            with self.subTest(master=master, partitions=partitions):
                session = start(master)
                try:
                    train = mnist(session, "train").repartition(partitions).persist()
                    estimator = SparkNetEstimator(
                        net=lenet(),
                        solver=sparknet.SolverParam(base_lr=0.02, momentum=0.9, weight_decay=0.0005, max_iter=1000),
                        inputs={"data": {"column": "image", "scale": 1 / 256}, "label": "label"},
                        tau=100,
                        solver_state="average",
                        outputs={"ip2": {"column": "prediction", "argmax": True}},
                    )
                    scored = estimator.fit(train).transform(mnist(session, "t10k").repartition(2))
                    accuracy = scored.where("prediction = label").count() / 10000
                    print(f"{master}, {partitions} partitions: test accuracy {accuracy:.4f}", flush=True)
                    self.assertGreaterEqual(accuracy, 0.985)
                finally:
                    session.stop()


if __name__ == "__main__":
    unittest.main()
