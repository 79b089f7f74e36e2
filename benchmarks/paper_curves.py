#!/usr/bin/env python3
"""SparkNet's experiment: how much faster K workers reach an accuracy, over tau and the time S of a communication.

Runs build/release/bin/paper_curves once for each seed, which trains LeNet for each K and tau and says how many rounds and
how much time of the slowest worker it took; adds S for each round; compares with the paper's model
N_a C / ((tau C + S) M_a); extends that to many workers, which is simulated; writes paper_curves.csv and .svg.

S is in units of C, the time of one worker's step, and is added to the clock, not slept: a round's result does not depend
on how long sending takes, so one training serves for every S.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIMULATED = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]


def fail(message: str) -> None:
    sys.exit(f"paper_curves: {message}")


def run_program(program: Path, seeds: list[int], options: list[str], raw: Path) -> None:
    """Writes the program's lines of all seeds to `raw`."""
    if not program.exists():
        fail(f"{program} is not there; scripts/build.sh release paper_curves builds it")
    lines: list[str] = []
    for seed in seeds:
        command = [str(program), "--seed", str(seed), *options]
        print(f"running {' '.join(command)}", flush=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("scheme,") and lines:
                    continue
                print("  " + line.strip(), flush=True)
                lines.append(line)
        if process.returncode != 0:
            fail(f"the program ended with status {process.returncode}")
    raw.write_text("".join(lines))


def read_runs(raw: Path) -> dict[tuple[str, int, int], list[dict[str, float]]]:
    """Those runs that reached the accuracy, by scheme, workers and tau."""
    runs = defaultdict(list)
    with raw.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["reached"] != "1":
                print(f"not reached, left out: {row}")
                continue
            values = {name: float(row[name]) for name in ("rounds", "iterations", "seconds")}
            runs[row["scheme"], int(row["workers"]), int(row["tau"])].append(values)
    if not runs[("serial", 1, 1)]:
        fail("the serial run did not reach the accuracy; --target lowers it, --most lets it train longer")
    return runs


def mean(runs: list[dict[str, float]], name: str) -> float:
    return statistics.mean(run[name] for run in runs)


def fit_rounds(points: dict[int, float]) -> tuple[float, float]:
    """Least squares for M_a(K) = a + b / K, neither below 0."""
    x = [1 / k for k in points]
    y = list(points.values())
    if len(x) < 2:
        return y[0], 0.0
    mx, my = statistics.mean(x), statistics.mean(y)
    b = sum((u - mx) * (v - my) for u, v in zip(x, y)) / sum((u - mx) ** 2 for u in x)
    b = max(0.0, b)
    return max(1.0, my - b * mx), b


def speed_ups(runs, delays: list[float]) -> list[dict[str, object]]:
    """A row for each scheme, K, tau and S: measured, and by the model."""
    serial = runs[("serial", 1, 1)]
    iterations, seconds = mean(serial, "iterations"), mean(serial, "seconds")
    step = seconds / iterations
    rows = []
    for (scheme, workers, tau), of in sorted(runs.items()):
        if scheme == "serial":
            continue
        rounds = mean(of, "rounds")
        for delay in delays:
            wait = delay * step if workers > 1 else 0.0
            measured = seconds / (mean(of, "seconds") + rounds * wait)
            compute = step / workers if scheme == "naive" else tau * step
            model = iterations * step / ((compute + wait) * rounds)
            rows.append(
                {"scheme": scheme, "workers": workers, "tau": tau, "S/C": delay, "rounds": rounds,
                 "speed-up": round(measured, 3), "model": round(model, 3), "simulated": 0})
    for tau in sorted({tau for scheme, _, tau in runs if scheme == "averaging"}):
        points = {k: mean(of, "rounds") for (s, k, t), of in runs.items() if s == "averaging" and t == tau}
        a, b = fit_rounds(points)
        for workers in SIMULATED:
            rounds = a + b / workers
            for delay in delays:
                wait = delay if workers > 1 else 0.0
                rows.append(
                    {"scheme": "averaging", "workers": workers, "tau": tau, "S/C": delay, "rounds": round(rounds, 2),
                     "speed-up": "", "model": round(iterations / ((tau + wait) * rounds), 3), "simulated": 1})
    return rows


def draw(rows: list[dict[str, object]], delays: list[float], title: str, file: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        fail("drawing needs matplotlib (Debian: apt-get install python3-matplotlib); the .csv is written")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "paper_curves", "svg.fonttype": "none"})
    import matplotlib.pyplot as plot

    figure, axes = plot.subplots(2, len(delays), figsize=(4.2 * len(delays), 8), squeeze=False)
    taus = sorted({int(row["tau"]) for row in rows if row["scheme"] == "averaging"})
    for column, delay in enumerate(delays):
        top, bottom = axes[0][column], axes[1][column]

        def line(axis, style, key, color, label=None, **wanted):
            points = sorted(
                (int(r["workers"]), float(r[key])) for r in rows
                if r["S/C"] == delay and all(r[name] == value for name, value in wanted.items()))
            if points:
                axis.plot(*zip(*points), style, color=color, label=label, markersize=5)

        for number, tau in enumerate(taus):
            color = f"C{number}"
            line(top, "o-", "speed-up", color, f"tau {tau}", scheme="averaging", tau=tau, simulated=0)
            line(top, ":", "model", color, None, scheme="averaging", tau=tau, simulated=0)
            line(bottom, "-", "model", color, f"tau {tau}", scheme="averaging", tau=tau, simulated=1)
        line(top, "s--", "speed-up", "black", "naive", scheme="naive", simulated=0)
        top.set_title(f"S = {delay:g} C, measured (dotted: model)")
        bottom.set_title(f"S = {delay:g} C, simulated by the model")
        bottom.set_xscale("log")
        for axis in (top, bottom):
            axis.axhline(1, color="grey", linewidth=0.8)
            axis.set_xlabel("workers")
            axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("speed-up over one worker")
    axes[1][0].set_ylabel("speed-up over one worker")
    axes[0][0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/paper_curves")
    parser.add_argument("--output", type=Path, default=ROOT / "build/paper_curves", help="folder (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--delay", type=float, nargs="+", default=[0, 1, 10, 100], help="S in units of C (%(default)s)")
    parser.add_argument("--reuse", action="store_true", help="draw the runs of the last time again")
    parser.add_argument("options", nargs="*", help="after --: for the program, say --target 0.97 --tau 1 10")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    raw = arguments.output / "runs.csv"
    if not arguments.reuse:
        run_program(arguments.program, arguments.seeds, arguments.options, raw)
    if not raw.exists():
        fail(f"{raw} is not there; run once without --reuse")
    rows = speed_ups(read_runs(raw), arguments.delay)
    with (arguments.output / "paper_curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, arguments.delay, "LeNet on MNIST to a test accuracy", arguments.output / "paper_curves.svg")
    print(f"written: {arguments.output}/paper_curves.csv and .svg")


if __name__ == "__main__":
    main()
