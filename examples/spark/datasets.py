"""MNIST and CIFAR-10 as DataFrames; without their files, digits that are drawn here, so that the examples always run."""

import gzip
import os
import pathlib

import numpy as np
import pyarrow as pa


def _read(path):
    for file in (path, path.with_name(path.name + ".gz")):
        if file.exists():
            with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
                return stream.read()
    raise FileNotFoundError(path)


def _folders(data, name):
    project = pathlib.Path(__file__).resolve().parents[2] / "data"
    for folder in (data, os.environ.get("SPARKNET_DATA_DIR"), project):
        if folder:
            yield pathlib.Path(folder) / name
            yield pathlib.Path(folder)


def _mnist(folder, part):
    images = np.frombuffer(_read(folder / f"{part}-images-idx3-ubyte"), "u1", offset=16)
    return images.reshape(-1, 784), np.frombuffer(_read(folder / f"{part}-labels-idx1-ubyte"), "u1", offset=8)


def _cifar(folder, part):
    files = (
        sorted({f.name.removesuffix(".gz") for f in folder.glob("data_batch_*.bin*")})
        if part == "train"
        else ["test_batch.bin"]
    )
    if not files:
        raise FileNotFoundError(folder)
    rows = np.concatenate([np.frombuffer(_read(folder / file), "u1").reshape(-1, 3073) for file in files])
    return np.ascontiguousarray(rows[:, 1:]), rows[:, 0]


# The segments of a digit as on a clock's display: top, upper left and right, middle, lower left and right, bottom.
_SEGMENTS = [
    "1110111",
    "0010010",
    "1011101",
    "1011011",
    "0111010",
    "1101011",
    "1101111",
    "1010010",
    "1111111",
    "1111011",
]


def _drawn(channels, side, examples, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, examples)
    images = random.integers(0, 60, (examples, channels, side, side))
    for image, label in zip(images, labels):
        h, w, t = random.integers(7, 10), random.integers(7, 12), random.integers(2, 4)
        y, x = random.integers(1, side - 2 * h - t), random.integers(1, side - w - t)
        ink = random.integers(150, 255, (channels, 1, 1))
        places = [
            (0, 0, t, w), (0, 0, h, t), (0, w - t, h, t), (h, 0, t, w), (h, 0, h, t), (h, w - t, h, t), (2 * h, 0, t, w)
        ]  # fmt: skip
        for on, (top, left, height, width) in zip(_SEGMENTS[label], places):
            if on == "1":
                image[:, y + top : y + top + height, x + left : x + left + width] = ink
    return images.astype("u1").reshape(examples, -1), labels


def frames(session, name, data=None):
    """The training and the test set of "mnist" or "cifar10": frames of image (bytes) and label (int)."""
    reader, shape = {"mnist": (_mnist, (1, 28)), "cifar10": (_cifar, (3, 32))}[name]
    parts = None
    for folder in _folders(data, name):
        try:
            parts = reader(folder, "train"), reader(folder, "t10k")
            print(f"{name} from {folder}")
            break
        except FileNotFoundError:
            continue
    if parts is None:
        if data is not None:
            raise SystemExit(f"{name} is not in {data}")
        print(f"{name} was not found (--data, SPARKNET_DATA_DIR): going on with digits that are drawn here")
        parts = _drawn(*shape, 8000, 1), _drawn(*shape, 2000, 2)
    return [
        session.createDataFrame(
            pa.table({"image": pa.array([i.tobytes() for i in images]), "label": pa.array(labels.astype("i4"))})
        )
        for images, labels in parts
    ]
