#!/usr/bin/env python3
"""Training steps, and inference at batch 1, here and in PyTorch for the CPU: f32, the same number of threads.

    benchmarks/compare_pytorch.py [CASE]... [options]

LeNet trains on digits, the other nets on noise. PyTorch is taken from PyPI into a virtual environment (build/torch-venv,
made once), in the best of its forms: either layout and, for inference, also traced, frozen and optimised by
torch.jit. Blocks of steps alternate between the two, one of them working at a time, so that a clock that moves or a busy
neighbour meets both alike. At the end of each case stands the most memory that each process held.
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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = ["contiguous", "channels_last"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


@dataclass
class Case:
    """A net, what is done with it, and how long it is watched."""

    net: str
    batch: int
    rounds: int
    steps: int
    infer: bool = False
    warm_up: int = 2  # steps at the start of a block that find the caches cold

    @property
    def what(self) -> str:
        return f"{self.net} {'inference' if self.infer else 'step'}"


CASES = {
    "lenet": Case("lenet", 64, 20, 20),
    "lenet-inference": Case("lenet", 1, 20, 200, infer=True),
    "caffenet-inference": Case("caffenet", 1, 2, 10, infer=True),
    "resnet50-inference": Case("resnet50", 1, 2, 10, infer=True),
    "cifar10_quick": Case("cifar10_quick", 100, 20, 5),
    "caffenet": Case("caffenet", 16, 8, 2, warm_up=1),
    "alexnet": Case("alexnet", 16, 8, 2, warm_up=1),
    "resnet50": Case("resnet50", 8, 8, 1, warm_up=1),
}


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
    """A process that trains `n` steps for each line "each n" and answers with the loss and the times."""

    def __init__(self, name: str, command: list[str | Path], env: dict[str, str], warm_up: int = 2) -> None:
        self.name, self.warm_up = name, warm_up
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
        self.process.stdin.write(f"each {self.warm_up + steps}\n")
        self.process.stdin.flush()
        loss, *times = (float(word) for word in self.answer().split())
        self.losses.append(loss)
        if count:
            self.rounds.append(times[self.warm_up :])
        time.sleep(0.02)  # threads that spin for a while after their work come to rest

    def median(self) -> float:
        return statistics.median(t for block in self.rounds for t in block)

    def quartiles(self) -> list[float]:
        return statistics.quantiles((t for block in self.rounds for t in block), n=4)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

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


def compare(case: Case, threads: int, python: Path, digits: Path | None, args: argparse.Namespace) -> dict:
    rounds, steps = args.rounds or case.rounds, args.steps or case.steps
    command = [args.build_dir / "bin" / ("lenet_step" if digits else "net_step"), "--threads", str(threads)]
    worker = [python, Path(__file__).with_name("torch_step.py"), "--net", case.net, "--batch", str(case.batch)]
    worker += ["--threads", str(threads), "--sgd", args.sgd]
    if digits:
        worker += ["--data", digits]
    else:
        command += ["--net", case.net, "--batch", str(case.batch)]
    for given, flag in ((case.infer, "--infer"), (args.compile, "--compile")):
        worker += [flag] if given else []
    command += ["--infer", "--freeze"] if case.infer else []
    ours = Contender("sparknet", command, dict(os.environ), case.warm_up)
    forms = {layout: ["--layout", layout] for layout in LAYOUTS}
    if case.infer and not args.compile:
        forms |= {f"{form} frozen": flags + ["--freeze"] for form, flags in forms.items()}
    theirs = {
        form: Contender(f"PyTorch ({form})", worker + flags, torch_environment(threads), case.warm_up)
        for form, flags in forms.items()
    }
    contenders = [ours, *theirs.values()]
    if not args.quiet:
        for contender in contenders:
            print(f"  {contender.description}")

    for contender in contenders:
        contender.block(steps, count=False)
    start, busy = time.monotonic(), busy_seconds() - sum(c.cpu_seconds() for c in contenders)
    for number in range(rounds):
        for i in range(len(contenders)):
            contenders[(number + i) % len(contenders)].block(steps, count=True)
    others = busy_seconds() - sum(c.cpu_seconds() for c in contenders) - busy
    others /= (time.monotonic() - start) * (os.cpu_count() or 1)
    peaks = {contender.name: contender.peak_mb() for contender in contenders}
    for contender in contenders:
        contender.close()

    best, *slower = sorted(forms, key=lambda form: theirs[form].median())
    our_ms, best_ms = ours.median(), theirs[best].median()
    ratios = [
        statistics.median(a) / statistics.median(b) for a, b in zip(ours.rounds, theirs[best].rounds, strict=True)
    ]
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"{case.what} threads={threads} ours/pytorch {our_ms / best_ms:.2f} "
        f"(ours {our_ms:.3g} ms, pytorch {best_ms:.3g} ms {best}, median of {rounds * steps})"
    )
    if not args.quiet:
        print(f"  the middle half of the {rounds} rounds: {low:.2f} to {high:.2f}")
        for form in slower:
            print(f"  pytorch {form}: {theirs[form].median():.3g} ms, ours/pytorch {our_ms / theirs[form].median():.2f}")
        print(
            f"  memory at the most: ours {peaks[ours.name]:.0f} MB, pytorch {peaks[theirs[best].name]:.0f} MB, "
            f"ours/pytorch {peaks[ours.name] / peaks[theirs[best].name]:.2f}"
        )
        print("  loss: " + ", ".join(f"{c.name} {c.losses[0]:.3f} -> {c.losses[-1]:.3f}" for c in contenders))
    if others > 0.05:
        print(f"  other programs took {others:.0%} of the machine meanwhile; repeat this at a quiet moment")
    sys.stdout.flush()
    for contender in contenders:
        # On noise, and with dropout, a net need not be better after some steps than before.
        if not contender.losses[-1] < (contender.losses[0] if digits else float("inf")):
            fail(f"{contender.name} does not learn: its loss went from {contender.losses[0]} to {contender.losses[-1]}")
    return {
        "case": case.what,
        "batch": case.batch,
        "threads": threads,
        "peak_mb": peaks,
        "ratio": our_ms / best_ms,
        "ratio_quartiles": [low, high],
        "best_form": best,
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
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--threads", type=int, nargs="+", default=both, help="thread counts (one, and all cores)")
    parser.add_argument("--rounds", type=int, help="blocks of each contender (20 to 8)")
    parser.add_argument("--steps", type=int, help="measured steps in a block (200 to 1)")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "release", help="build tree (build/release)")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "torch-venv", help="where PyTorch is or goes")
    parser.add_argument("--sgd", choices=["fused", "foreach", "for-loop"], default="fused", help="of PyTorch (fused)")
    parser.add_argument("--compile", action="store_true", help="give PyTorch torch.compile (needs a C++ compiler)")
    parser.add_argument("--quiet", action="store_true", help="one line for each thread count")
    parser.add_argument("--json", type=Path, help="write every time measured to this file")
    args = parser.parse_args()
    for case in args.cases:
        if case not in CASES:
            parser.error(f"there is no case {case}; there are {', '.join(CASES)}")
    if (args.rounds or 2) < 2 or (args.steps or 1) < 1 or min(args.threads) < 1:
        parser.error("--rounds is at least 2, --steps and --threads at least 1")
    return args


def main() -> None:
    args = parse()
    for program in ("lenet_step", "net_step"):
        if not (args.build_dir / "bin" / program).exists():
            fail(
                f"{args.build_dir}/bin/{program} is not built; it needs Google Benchmark and CLI11 (Debian: "
                "libbenchmark-dev, libcli11-dev), then\n"
                "  cmake --preset release && cmake --build --preset release --target lenet_step net_step"
            )
    python = torch_python(args.venv)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        digits = Path(folder) / "digits"
        step = args.build_dir / "bin" / "lenet_step"
        export = subprocess.run([step, "--export", digits], stdout=subprocess.PIPE, text=True)
        if export.returncode != 0:
            fail("lenet_step could not give out its digits")
        for name in args.cases or CASES:
            case = CASES[name]
            on_digits = name == "lenet"
            print(f"{case.what}, batch {case.batch}, f32, {export.stdout.strip() if on_digits else 'noise'}", flush=True)
            results += [compare(case, n, python, digits if on_digits else None, args) for n in args.threads]
    if args.json:
        machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()}
        args.json.write_text(json.dumps({"machine": machine, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
