"""LeNet's training step in PyTorch, by the line protocol of lenet_step.cc; compare_pytorch.py runs both."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import nn


class LeNet(nn.Module):
    """The net of benchmarks/lenet_workload.h."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)
        for layer in self.children():
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.conv1(x), 2)
        x = nn.functional.max_pool2d(self.conv2(x), 2)
        x = nn.functional.relu(self.ip1(x.flatten(1)), inplace=True)
        return self.ip2(x)


def read_batches(path: Path, batch: int, layout: torch.memory_format) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What `lenet_step --export` wrote: u8 images of 28 x 28, then u8 labels. Made ready for the net beforehand."""
    raw = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    count = raw.numel() // 785
    images = raw[: count * 784].view(count, 1, 28, 28).float().div_(256)
    labels = raw[count * 784 :].long()
    starts = range(0, count - batch + 1, batch)
    return [(images[i : i + batch].to(memory_format=layout), labels[i : i + batch]) for i in starts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--sgd", choices=["fused", "foreach", "for-loop"], default="fused")
    parser.add_argument("--compile", action="store_true", help="torch.compile the net")
    args = parser.parse_args()

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
    batches = read_batches(args.data, args.batch, layout)
    net = LeNet().to(memory_format=layout)
    run = torch.compile(net) if args.compile else net
    kind = {"fused": args.sgd == "fused", "foreach": args.sgd == "foreach"}
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, **kind)

    done = 0

    def step() -> torch.Tensor:
        nonlocal done
        images, labels = batches[done % len(batches)]
        done += 1
        sgd.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(run(images), labels)
        loss.backward()
        sgd.step()
        return loss

    if args.compile:
        step()  # compiles, which takes a minute
    print(f"ready PyTorch {torch.__version__} {args.layout} {args.sgd} SGD", flush=True)
    for line in sys.stdin:
        losses, times = [], []
        for _ in range(int(line.split()[1])):
            start = time.perf_counter()
            loss = step()
            times.append((time.perf_counter() - start) * 1e3)
            losses.append(loss)
        mean = sum(loss.item() for loss in losses) / len(losses)
        print(f"{mean:.6f}", *(f"{t:.4f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
