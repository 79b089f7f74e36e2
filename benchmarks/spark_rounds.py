"""Rounds of a large net on Spark: the seconds of each phase, and what the driver holds.

    build/spark/bin/python benchmarks/spark_rounds.py [--workers 8] [--millions 61] [--rounds 3] [--tau 2]

The net has CaffeNet's bytes (61 million parameters) and little to compute. SPARK_HOME must name PySpark's folder, as
tests/spark/run.sh sets it. The driver is this process, with the Python side of Spark and the master of the rounds, and its
JVM, whose heap is asked for after each round."""

import argparse
import warnings

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

import sparknet
from sparknet.layers import InnerProductLayer, RDDLayer, ReLULayer, SoftmaxWithLoss
from sparknet.spark import SparkNetEstimator

warnings.filterwarnings("ignore")


def peak_mb():
    """The most memory this process held since the last call."""
    with open("/proc/self/status", encoding="utf-8") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as clear:
        clear.write("5")
    return peak / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", default="local-cluster[2,1,1024]")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--millions", type=float, default=61)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tau", type=int, default=2)
    given = parser.parse_args()

    session = (
        SparkSession.builder.master(given.master)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    width = int(np.sqrt(given.millions * 1e6))
    net = sparknet.NetParam(
        "large",
        RDDLayer("data", [4, 64]),
        RDDLayer("label", [4]),
        InnerProductLayer("ip1", ["data"], num_output=width),
        ReLULayer("relu1", ["ip1"]),
        InnerProductLayer("ip2", ["relu1"], num_output=width),
        ReLULayer("relu2", ["ip2"]),
        InnerProductLayer("ip3", ["relu2"], num_output=10),
        SoftmaxWithLoss("loss", ["ip3", "label"]),
    )
    random = np.random.default_rng(1)
    table = pa.table(
        {
            "x": pa.array(list(random.normal(size=(400, 64)).astype("f4"))),
            "label": pa.array(random.integers(0, 10, 400).astype("i4")),
        }
    )
    frame = session.createDataFrame(table).repartition(given.workers).persist()
    frame.count()
    base = peak_mb()
    base = peak_mb()  # since the mark was cleared
    runtime = session.sparkContext._jvm.java.lang.Runtime.getRuntime()

    def show(stats):
        runtime.gc()
        heap = (runtime.totalMemory() - runtime.freeMemory()) / 1e6
        phases = " + ".join(f"{name} {seconds:.2f}" for name, seconds in stats["phases"].items())
        print(f"round {stats['round']}: {stats['wall']:.2f} s = {phases}")
        print(
            f"  driver: {peak_mb() - base:.0f} MB above {base:.0f} at the most; its JVM's heap {heap:.0f} MB",
            flush=True,
        )

    model = SparkNetEstimator(
        net=net,
        solver=sparknet.SolverParam(base_lr=1e-4, max_iter=given.rounds * given.tau),
        inputs={"data": "x", "label": "label"},
        tau=given.tau,
        callback=show,
    ).fit(frame)
    print(f"a net of {model.weights.nbytes / 1e6:.0f} MB, {given.workers} workers")
    session.stop()


if __name__ == "__main__":
    main()
