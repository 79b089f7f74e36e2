#!/usr/bin/env python3
"""LeNet's training step here and in PyTorch for the CPU: batch 64, f32, the same digits, the same number of threads.

PyTorch is taken from PyPI into a virtual environment (build/torch-venv, made once). Blocks of steps alternate between
the two, one of them working at a time, so that a clock that moves or a busy neighbour meets both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = ["contiguous", "channels_last"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
BLOCK_WARM_UP = 2  # steps at the start of a block that find the caches cold


def fail(message: str) -> None:
    sys.exit(f"compare_pytorch: {message}")


def has_torch(python: Path) -> bool:
    return python.exists() and subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0


def torch_python(venv: Path) -> Path:
    """The interpreter of a virtual environment with PyTorch in it, which is made where it is missing."""
    python = venv / "bin" / "python"
    if has_torch(python):
        return python
    print(f"installing PyTorch in {venv} (once)", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True, text=True)
    if made.returncode != 0:
        fail(f"cannot make a virtual environment (Debian: apt-get install python3-venv)\n{made.stdout}{made.stderr}")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "torch", "numpy"]
    # PyTorch's own index has a build without CUDA, 200 MB; PyPI's takes 5 GB, but is reached from more places.
    quick = ["--index-url", CPU_INDEX, "--retries", "0", "--timeout", "15"]
    if subprocess.run(install + quick, capture_output=True).returncode != 0:
        print(f"  {CPU_INDEX} did not serve it; taking PyPI's, which is large", flush=True)
        from_pypi = subprocess.run(install, capture_output=True, text=True)
        if from_pypi.returncode != 0:
            why = from_pypi.stderr.strip()
            fail(f"PyTorch cannot be installed; --venv DIR takes an environment that has it\n{why}")
    if not has_torch(python):
        fail(f"PyTorch was installed in {venv}, but cannot be imported; remove the folder and try again")
    return python


class Contender:
    """A process that trains `n` steps for each line "step n" and answers with the loss and the times."""

    def __init__(self, name: str, command: list[str | Path], env: dict[str, str]) -> None:
        self.name = name
        self.rounds: list[list[float]] = []
        self.losses: list[float] = []
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.description = self.answer().removeprefix("ready ")

    def answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line:
            fail(f"{self.name} ended with exit status {self.process.wait()}")
        return line

    def block(self, steps: int, count: bool) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"step {BLOCK_WARM_UP + steps}\n")
        self.process.stdin.flush()
        loss, *times = (float(word) for word in self.answer().split())
        self.losses.append(loss)
        if count:
            self.rounds.append(times[BLOCK_WARM_UP:])
        time.sleep(0.02)  # threads that spin for a while after their work come to rest

    def median(self) -> float:
        return statistics.median(t for block in self.rounds for t in block)

    def quartiles(self) -> list[float]:
        return statistics.quantiles((t for block in self.rounds for t in block), n=4)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def busy_seconds() -> float:
    """Of all processors together, by all programs and by the host of a virtual machine (steal)."""
    all_cores = Path("/proc/stat").read_text().split("\n")[0]
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, all_cores.split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def torch_environment(threads: int) -> dict[str, str]:
    env = dict(os.environ)
    for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]:
        env[variable] = str(threads)
    # An OpenBLAS older than the processor takes it for one with SSE3 alone. (The x86 wheels on PyPI come with MKL.)
    if "avx512f" in Path("/proc/cpuinfo").read_text():
        env.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    return env


def compare(threads: int, step: Path, python: Path, data: Path, args: argparse.Namespace) -> dict:
    ours = Contender("lenet_step", [step, "--threads", str(threads)], dict(os.environ))
    worker = [python, Path(__file__).with_name("torch_step.py"), "--data", data, "--threads", str(threads)]
    worker += ["--sgd", args.sgd] + (["--compile"] if args.compile else [])
    theirs = {
        layout: Contender(f"PyTorch ({layout})", worker + ["--layout", layout], torch_environment(threads))
        for layout in LAYOUTS
    }
    contenders = [ours, *theirs.values()]
    if not args.quiet:
        for contender in contenders:
            print(f"  {contender.description}")

    for contender in contenders:
        contender.block(args.steps, count=False)
    start, busy = time.monotonic(), busy_seconds() - sum(c.cpu_seconds() for c in contenders)
    for number in range(args.rounds):
        for i in range(len(contenders)):
            contenders[(number + i) % len(contenders)].block(args.steps, count=True)
    others = busy_seconds() - sum(c.cpu_seconds() for c in contenders) - busy
    others /= (time.monotonic() - start) * (os.cpu_count() or 1)
    for contender in contenders:
        contender.close()

    best, other = sorted(LAYOUTS, key=lambda layout: theirs[layout].median())
    our_ms, best_ms, other_ms = ours.median(), theirs[best].median(), theirs[other].median()
    ratios = [
        statistics.median(a) / statistics.median(b) for a, b in zip(ours.rounds, theirs[best].rounds, strict=True)
    ]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"lenet step threads={threads} ours/pytorch {our_ms / best_ms:.2f} "
        f"(ours {our_ms:.1f} ms, pytorch {best_ms:.1f} ms {best}, median of {args.rounds * args.steps})"
    )
    if not args.quiet:
        print(f"  the middle half of the {args.rounds} rounds: {low:.2f} to {high:.2f}")
        print(f"  pytorch {other}: {other_ms:.1f} ms, ours/pytorch {our_ms / other_ms:.2f}")
        print("  loss: " + ", ".join(f"{c.name} {c.losses[0]:.3f} -> {c.losses[-1]:.3f}" for c in contenders))
    if others > 0.05:
        print(f"  other programs took {others:.0%} of the machine meanwhile; repeat this at a quiet moment")
    sys.stdout.flush()
    for contender in contenders:
        if not contender.losses[-1] < contender.losses[0]:
            fail(f"{contender.name} does not learn: its loss went from {contender.losses[0]} to {contender.losses[-1]}")
    return {
        "threads": threads,
        "ratio": our_ms / best_ms,
        "ratio_quartiles": [low, high],
        "best_layout": best,
        "other_programs": others,
        "contenders": [
            {
                "name": c.name,
                "description": c.description,
                "median_ms": c.median(),
                "quartiles_ms": c.quartiles(),
                "losses": c.losses,
                "ms": c.rounds,
            }
            for c in contenders
        ],
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    both = sorted({1, cores})
    parser.add_argument("--threads", type=int, nargs="+", default=both, help="thread counts (one, and all cores)")
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each contender (20)")
    parser.add_argument("--steps", type=int, default=20, help="measured steps in a block (20)")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "release", help="build tree (build/release)")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "torch-venv", help="where PyTorch is or goes")
    parser.add_argument("--sgd", choices=["fused", "foreach", "for-loop"], default="fused", help="of PyTorch (fused)")
    parser.add_argument("--compile", action="store_true", help="give PyTorch torch.compile (needs a C++ compiler)")
    parser.add_argument("--quiet", action="store_true", help="one line for each thread count")
    parser.add_argument("--json", type=Path, help="write every time measured to this file")
    args = parser.parse_args()
    if args.rounds < 2 or args.steps < 1 or min(args.threads) < 1:
        parser.error("--rounds is at least 2, --steps and --threads at least 1")
    return args


def main() -> None:
    args = parse()
    step = args.build_dir / "bin" / "lenet_step"
    if not step.exists():
        fail(
            f"{step} is not built; it needs Google Benchmark (Debian: libbenchmark-dev), then\n"
            "  cmake --preset release && cmake --build --preset release --target lenet_step"
        )
    python = torch_python(args.venv)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits"
        export = subprocess.run([step, "--export", data], stdout=subprocess.PIPE, text=True)
        if export.returncode != 0:
            fail("lenet_step could not give out its digits")
        print(f"LeNet, batch 64, f32, {export.stdout.strip()}", flush=True)
        cases = [compare(threads, step, python, data, args) for threads in args.threads]
    if args.json:
        machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()}
        args.json.write_text(json.dumps({"machine": machine, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
