"""What the examples have in common: their options, their session, their line for each round."""

import argparse
import warnings

from pyspark.sql import SparkSession

warnings.filterwarnings("ignore", category=FutureWarning)


def parse(description, iterations, tau):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workers", nargs="?", type=int, default=2, help="partitions of the data, each a worker's")
    parser.add_argument("--master", help="say local[2]; by default what spark-submit says, or this machine's cores")
    parser.add_argument("--data", help="the folder of the data set")
    parser.add_argument("--iterations", type=int, default=iterations, help="of each worker (default: %(default)s)")
    parser.add_argument("--tau", type=int, default=tau, help="iterations of a round (default: %(default)s)")
    parser.add_argument(
        "--mode",
        choices=["rounds", "collective"],
        default="rounds",
        help="rounds, jobs of tasks that keep nothing; collective, one group that keeps its momentum (%(default)s)",
    )
    options = parser.parse_args()
    options.solver_state = "average" if options.mode == "rounds" else "keep"
    if options.workers < 1:
        parser.error("there is one worker at least")
    return options


def start(options):
    builder = SparkSession.builder.appName("sparknet").config("spark.ui.enabled", "false")
    if options.master:
        builder = builder.master(options.master)
    session = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def show(stats):
    busy = stats["phases"]["train"] / stats["wall"]
    print(
        f"round {stats['round']}: iteration {stats['iteration']}, loss {stats['loss']:.4f}, {stats['wall']:.2f} s, "
        f"{busy:.0%} of it training",
        flush=True,
    )
