"""The Python binding, but for Spark: python3 -m unittest discover -s tests/python -p '*_test.py'."""

import gc
import os
import pathlib
import pickle
import re
import tempfile
import threading
import unittest
import weakref

import numpy as np

import sparknet
from sparknet.layers import (
    AccuracyLayer,
    ConvolutionLayer,
    InnerProductLayer,
    PoolingLayer,
    RDDLayer,
    ReLULayer,
    ScaleLayer,
    SoftmaxWithLoss,
)

try:
    import pyarrow as pa
except ImportError:
    pa = None


def lenet(batch=64):
    multipliers = {"lr_mult": [1, 2]}
    return sparknet.NetParam(
        "LeNet",
        RDDLayer("data", [batch, 1, 28, 28]),
        RDDLayer("label", [batch, 1]),
        ConvolutionLayer("conv1", ["data"], kernel=5, num_output=20, **multipliers),
        PoolingLayer("pool1", ["conv1"], pooling="MAX", kernel=2, stride=2),
        ConvolutionLayer("conv2", ["pool1"], kernel=[5, 5], num_output=50, **multipliers),
        PoolingLayer("pool2", ["conv2"], kernel=2, stride=2),
        InnerProductLayer("ip1", "pool2", num_output=500, **multipliers),
        ReLULayer("relu1", ["ip1"]),
        InnerProductLayer("ip2", ["relu1"], num_output=10, weight_filler={"type": "gaussian", "std": 0.01}),
        SoftmaxWithLoss("loss", ["ip2", "label"]),
        AccuracyLayer("accuracy", ["ip2", "label"], include="test"),
    )


def anonymous_bytes():
    """What this process holds and has from no file."""
    with open("/proc/self/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def line_data(examples=40, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(examples, 3)).astype("f4")
    label = (x.sum(axis=1) > 0).astype("i4")
    return x, label


def small_net(batch=4):
    return sparknet.NetParam(
        "small",
        RDDLayer("data", [batch, 3]),
        RDDLayer("label", [batch]),
        InnerProductLayer("ip", ["data"], num_output=2),
        SoftmaxWithLoss("loss", ["ip", "label"]),
    )


def small_solver(**more):
    return sparknet.SolverParam(base_lr=0.1, momentum=0.9, max_iter=12, **more)


class Descriptions(unittest.TestCase):
    def test_dsl_yields_the_same_net_as_its_prototxt(self):
        net = lenet()
        self.assertEqual(net, sparknet.NetParam.from_prototxt(net.to_prototxt()))
        self.assertNotEqual(net, lenet(batch=32))

    def test_dsl_reads_as_cpp(self):
        text = repr(lenet())
        self.assertIn('ConvolutionLayer{"conv1", {"data"}, {.kernel = 5, .num_output = 20, .lr_mult = {1, 2}', text)
        self.assertIn("Filler::gaussian(0, 0.01)", text)
        self.assertIn("Include::Test", text)

    def test_shapes_inputs_and_classes(self):
        net = lenet()
        self.assertEqual(net.inputs(), {"data": [64, 1, 28, 28], "label": [64, 1]})
        self.assertEqual(net.classes("label"), 10)
        self.assertEqual(net.classes("data"), 0)
        shapes = {layer["name"]: layer["top_shapes"] for layer in net.layers()}
        self.assertEqual(shapes["ip1"], [[64, 500]])
        self.assertNotIn("accuracy", shapes)

    def test_pickle_keeps_layers_and_lines(self):
        net, solver = lenet(), small_solver(type="Nesterov")
        self.assertEqual(pickle.loads(pickle.dumps(net)), net)
        self.assertEqual(pickle.loads(pickle.dumps(solver)), solver)
        read = sparknet.NetParam.from_prototxt(net.to_prototxt()).add(ReLULayer("more", ["ip2"]))
        self.assertEqual(pickle.loads(pickle.dumps(read)), read)

    def test_parameters_are_shared_by_with_(self):
        net = sparknet.NetParam(
            "twins",
            RDDLayer("a", [2, 3]),
            RDDLayer("b", [2, 3]),
            InnerProductLayer("one", ["a"], num_output=2).with_(param=[{"name": "w"}, {"name": "b"}]),
            InnerProductLayer("two", ["b"], num_output=2).with_(param=[{"name": "w"}, {"name": "b"}]),
        )
        self.assertEqual([p["layer"] for p in sparknet.Net(net).params], ["one", "one"])


class Mistakes(unittest.TestCase):
    """The likeliest ones: Python's exceptions with the library's words."""

    def refused(self, kind, words, what, *arguments, **named):
        with self.assertRaisesRegex(kind, words):
            what(*arguments, **named)

    def test_misspelled_option(self):
        layer = ConvolutionLayer("conv1", ["data"], kernal=5)
        self.refused(sparknet.DataError, 'no "kernal"; did you mean "kernel"', sparknet.NetParam, "n", layer)

    def test_shapes_that_do_not_fit_name_the_line(self):
        net = small_net().add(ConvolutionLayer("conv", ["ip"], kernel=5, num_output=2))
        self.refused(sparknet.NetError, r'"conv"[^\n]*\n  at sparknet_test\.py:\d+', sparknet.Net, net)

    def test_input_of_another_shape(self):
        net = sparknet.Net(small_net())
        self.refused(sparknet.NetError, r"\[3, 3\]", net.set_input, "data", np.zeros((3, 3), "f4"))

    def test_option_of_another_type(self):
        wrong = r'recompute: it is "yes"; true or false is wanted'
        self.refused(sparknet.DataError, wrong, sparknet.Net, small_net(), "train", recompute="yes")
        sparknet.Net(small_net(), "train", recompute=True)
        self.refused(sparknet.NetError, "freeze is for the test phase", sparknet.Net, small_net(), "train", freeze=True)

    def test_column_of_another_shape(self):
        solver = sparknet.Solver(small_solver(), small_net())
        x, label = line_data()
        source = sparknet.Source.from_arrays(data=x[:, :2], label=label)
        self.refused(sparknet.NetError, r'"data".*\[4, 3\].*\[2\]', solver.set_data, source)

    def test_other_things_than_the_library_s(self):
        solver = sparknet.Solver(small_solver(), small_net())
        self.refused(TypeError, "solver_set_data", solver.set_data, line_data()[0])
        self.refused(TypeError, "NetParam is wanted", sparknet.Net, "lenet.prototxt")
        self.refused(TypeError, "cannot be sent", pickle.dumps, solver)
        self.refused(sparknet.DTypeError, "complex", sparknet.Source.from_arrays, data=np.zeros(3, complex))

    def test_solver_text(self):
        self.refused(sparknet.DataError, "bse_lr", sparknet.SolverParam, bse_lr=0.1)
        self.refused(sparknet.DataError, "did you mean", sparknet.SolverParam, type="Nestorov")


class Running(unittest.TestCase):
    def test_training_lowers_the_loss_and_forward_agrees_with_numpy(self):
        x, label = line_data()
        solver = sparknet.Solver(small_solver(), small_net(), threads=1)
        solver.set_data(sparknet.Source.from_arrays(data=x, label=label), shuffle=True)
        first = solver.step()
        self.assertLess(solver.step(100), first)
        self.assertEqual(solver.iteration, 101)

        weights = solver.net.weights()
        net = sparknet.Net(small_net(), threads=1)
        net.set_weights(weights)
        at = {p["name"]: p for p in net.params}
        w = weights[at["weights"]["offset"] :][:6].reshape(2, 3)
        b = weights[at["bias"]["offset"] :][:2]
        net.forward(data=x[:4], label=label[:4])
        np.testing.assert_allclose(net.blob("ip"), x[:4] @ w.T + b, rtol=1e-5, atol=1e-6)

    def test_arrays_of_a_source_live_as_long_as_it(self):
        x, label = line_data()
        alive = weakref.ref(x)
        source = sparknet.Source.from_arrays(data=x, label=label)
        solver = sparknet.Solver(small_solver(), small_net())
        solver.set_data(source)
        del x, source
        gc.collect()
        self.assertIsNotNone(alive())
        del solver
        gc.collect()
        self.assertIsNone(alive())

    def test_a_frozen_net_sees_weights_that_are_set(self):
        param = sparknet.NetParam(
            "frozen",
            RDDLayer("x", [2, 3, 4, 4]),
            ConvolutionLayer("conv", ["x"], kernel=1, num_output=2),
            ScaleLayer("y", ["conv"], bias=True),
        )
        plain, frozen = sparknet.Net(param), sparknet.Net(param, freeze=True)
        x = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype("f4")
        for seed in 2, 3:
            weights = np.random.default_rng(seed).normal(size=plain.info["elements"]).astype("f4")
            for net in plain, frozen:
                net.set_weights(weights)
                net.forward(x=x)
            np.testing.assert_allclose(frozen.blob("y"), plain.blob("y"), rtol=1e-5, atol=1e-5)

    def test_dlpack(self):
        class Exported:
            def __init__(self, array):
                self.array = array

            def __dlpack__(self, **more):
                return self.array.__dlpack__(**more)

            def __dlpack_device__(self):
                return self.array.__dlpack_device__()

        x, label = line_data()
        self.assertEqual(len(sparknet.Source.from_arrays(data=Exported(x), label=Exported(label))), 40)

    def test_caffemodel_and_snapshot(self):
        x, label = line_data()
        source = sparknet.Source.from_arrays(data=x, label=label)
        with tempfile.TemporaryDirectory() as folder:
            solver = sparknet.Solver(small_solver(), small_net(), threads=1)
            solver.set_data(source)
            solver.step(5)
            solver.snapshot(os.path.join(folder, "a.snap"))
            solver.net.save(os.path.join(folder, "a.caffemodel"))
            again = sparknet.Solver(small_solver(), small_net(), threads=1)
            again.set_data(source)
            again.restore(os.path.join(folder, "a.snap"))
            self.assertEqual(solver.step(5), again.step(5))
            net = sparknet.Net(small_net())
            self.assertIn("copied", net.load(os.path.join(folder, "a.caffemodel")))


class Memory(unittest.TestCase):
    def test_gradients_take_up_no_memory_until_they_are_written(self):
        wide = sparknet.NetParam(
            "wide",
            RDDLayer("data", [2, 4096]),
            RDDLayer("label", [2]),
            InnerProductLayer("ip", ["data"], num_output=4096),
            SoftmaxWithLoss("loss", ["ip", "label"]),
        )
        weights = 4 * 4096 * 4096
        before = anonymous_bytes()
        net = sparknet.Net(wide, "train", threads=1)
        made = anonymous_bytes() - before
        net.forward(data=np.ones((2, 4096), "f4"), label=np.zeros(2, "i4"))
        net.backward()
        trained = anonymous_bytes() - before
        self.assertLess(made, 1.2 * weights)
        self.assertGreater(trained, 1.9 * weights)


class Rounds(unittest.TestCase):
    def run_rounds(self, slices, turn):
        x, label = line_data()
        source = sparknet.Source.from_arrays(data=x, label=label)
        net, param = small_net(), small_solver()
        master = sparknet.Master(param, net, workers=3, seed=5, tau=4)
        solvers = [sparknet.Solver(param, net, threads=1, seed=5) for _ in range(3)]
        for worker, solver in enumerate(solvers):
            solver.set_data(source.part(worker, 3), shuffle=True)
        while not master.done:
            task = master.task()
            parts = [solver.round(task, worker) for worker, solver in enumerate(solvers)]
            joiner = sparknet.Joiner()
            for s in range(slices):
                encoded = [bytes(part.encode(slice=s, slices=slices)) for part in parts[turn:] + parts[:turn]]
                joiner.add(sparknet.merge(sparknet.Contribution.decode(data) for data in encoded))
            stats = master.apply([joiner.take()])
            self.assertEqual(stats["workers"], 3)
        self.assertEqual(master.round, 3)
        return master.weights()

    def test_slices_and_their_order_change_no_bit(self):
        whole = self.run_rounds(1, 0)
        np.testing.assert_array_equal(whole, self.run_rounds(3, 1))
        np.testing.assert_array_equal(whole, self.run_rounds(2, 2))

    def test_damaged_contribution(self):
        with self.assertRaisesRegex(sparknet.DataError, "what came, byte 0"):
            sparknet.Contribution.decode(b"x" * 100, "what came")


class Groups(unittest.TestCase):
    def gather_among(self, size):
        lines, everybody = [None] * size, threading.Barrier(size, timeout=60)

        def all_gather_of(rank):
            def all_gather(line):
                lines[rank] = line
                everybody.wait()
                return list(lines)

            return all_gather

        return all_gather_of

    def run_members(self, size, work):
        """Calls work(group) on a thread for each member; what it raises is returned."""
        of, results = self.gather_among(size), [None] * size

        def run(rank):
            try:
                with sparknet.Communicator(rank, size, of(rank), host="127.0.0.1", timeout=60) as group:
                    results[rank] = work(group)
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return results

    def setUp(self):
        try:
            sparknet.Communicator(0, 1, lambda line: [line]).leave()
        except sparknet.Error as error:
            if "without Gloo" in str(error):
                self.skipTest(str(error))
            raise

    def test_a_group_has_the_bits_of_rounds(self):
        x, label = line_data()
        source = sparknet.Source.from_arrays(data=x, label=label)
        net, param = small_net(), small_solver()

        def work(group):
            solver = sparknet.Solver(param, net, threads=1, seed=5)
            solver.set_data(source.part(group.rank, 3), shuffle=True)
            averaging = sparknet.AveragingSolver(solver, group, tau=4, history="reset")
            while not averaging.done:
                stats = averaging.round()
            self.assertEqual((stats["workers"], averaging.iteration), (3, 12))
            self.assertEqual(group.sum(np.float64([group.rank, 1])).tolist(), [3, 3])
            self.assertEqual(group.broadcast(np.uint8([group.rank]), 1).tolist(), [1])
            return averaging.weights()

        expected = Rounds().run_rounds(1, 0)
        for weights in self.run_members(3, work):
            np.testing.assert_array_equal(weights, expected)

    def test_gradients_in_common_are_steps_on_all_examples(self):
        x, label = line_data(48)
        whole = sparknet.Solver(small_solver(), small_net(12), threads=1, seed=5)
        whole.set_data(sparknet.Source.from_arrays(data=x, label=label))
        whole.step(12)

        def work(group):
            mine = np.arange(48).reshape(4, 3, 4)[:, group.rank].ravel()  # of each 12 the first, second or third 4
            solver = sparknet.Solver(small_solver(), small_net(4), threads=1, seed=5)
            solver.set_data(sparknet.Source.from_arrays(data=x[mine], label=label[mine]))
            averaging = sparknet.AveragingSolver(solver, group, tau=6, gradients=True)
            while not averaging.done:
                averaging.round()
            return averaging.weights()

        results = self.run_members(3, work)
        for weights in results:
            np.testing.assert_array_equal(weights, results[0])
            np.testing.assert_allclose(weights, whole.net.weights(), rtol=0, atol=1e-6)

    def test_a_member_that_raises_ends_the_group(self):
        def work(group):
            if group.rank == 1:
                raise KeyError("mine")
            group.sum(np.float32([1]))

        results = self.run_members(2, work)
        self.assertIsInstance(results[1], KeyError)
        self.assertIsInstance(results[0], sparknet.Error)
        self.assertIn("rank 0 of 2: rank 1 is gone", str(results[0]))

    def test_what_all_gather_raises_is_raised(self):
        def all_gather(line):
            raise KeyError("no such store")

        with self.assertRaisesRegex(KeyError, "no such store"):
            sparknet.Communicator(0, 2, all_gather)
        with self.assertRaisesRegex(ValueError, "returned 1 lines for a group of 2"):
            sparknet.Communicator(0, 2, lambda line: [line])


@unittest.skipIf(pa is None, "pyarrow is not installed")
class Arrow(unittest.TestCase):
    columns = [{"name": "data", "column": "features", "shape": [3]}, {"name": "label", "classes": 2}]

    def table(self, chunks=3):
        x, label = line_data()
        batches = [
            pa.record_batch({"features": pa.array(list(a)), "label": pa.array(b)})
            for a, b in zip(np.array_split(x, chunks), np.array_split(label, chunks))
        ]
        return pa.Table.from_batches(batches)

    def test_training_from_a_table_is_training_from_arrays(self):
        x, label = line_data()
        weights = []
        for source in (
            sparknet.Source.from_arrays(data=x, label=label),
            sparknet.Source.from_arrow(self.table(), self.columns),
        ):
            self.assertEqual(len(source), 40)
            solver = sparknet.Solver(small_solver(), small_net(), threads=1)
            solver.set_data(source, shuffle=True)
            solver.step(20)
            weights.append(solver.net.weights())
        np.testing.assert_array_equal(*weights)

    def test_u8_images_are_read_where_arrow_has_them(self):
        rows, pixels = 20000, 784
        images = np.random.default_rng(1).integers(0, 255, (rows, pixels)).astype("u1")
        labels = pa.array(np.arange(rows, dtype="i4") % 10)
        columns = [{"name": "data", "column": "image", "shape": [1, 28, 28]}, {"name": "label", "classes": 10}]
        copied = {}
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("u1", "i8"):  # the second type is converted as it is read, and not before
                flat = pa.array(images.astype(kind).ravel())
                table = pa.table({"image": pa.FixedSizeListArray.from_arrays(flat, pixels), "label": labels})
                path = os.path.join(folder, kind)
                with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                    writer.write_table(table)
                mapped = pa.ipc.open_file(pa.memory_map(path)).read_all()
                before = anonymous_bytes()
                source = sparknet.Source.from_arrow(mapped, columns)
                made = anonymous_bytes() - before
                net = sparknet.Net(lenet(), "train", threads=1)
                net.forward(data=images[:64].reshape(64, 1, 28, 28), label=np.zeros((64, 1), "i4"))
                before = anonymous_bytes()
                net.set_data(source, shuffle=True, transforms={"data": {"scale": 1 / 256}})
                for _ in range(40):
                    net.forward()
                copied[kind] = made, anonymous_bytes() - before
        for made, fed in copied.values():
            self.assertLess(made, 1e6)  # of 16 and 125 MB of images
            self.assertLess(fed, 4e6)

    def test_values_that_cannot_be_name_column_and_row(self):
        table = self.table()
        for change, words in (
            (pa.array([0, 1] * 19 + [7, 0]), r"label.*row 38.*7"),
            (pa.array([0, 1] * 19 + [None, 0]), r"label.*row 38"),
        ):
            wrong = table.set_column(1, "label", change)
            with self.assertRaisesRegex(sparknet.DataError, words):
                sparknet.Source.from_arrow(wrong, self.columns)


class Docs(unittest.TestCase):
    def test_the_tour_runs(self):
        text = (pathlib.Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
            self.assertTrue(os.path.exists("line.caffemodel"))
            os.chdir(here)


if __name__ == "__main__":
    unittest.main()
