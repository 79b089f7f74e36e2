"""Saving and loading as Spark ML does, so that a Pipeline can: to whatever file system the path names."""

import json
import os
import shutil
import tempfile
import time
import uuid

import pyspark
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import SparkSession

import sparknet


def _remote(path):
    """Hadoop's file system and path, or None where that is this machine's."""
    session = SparkSession.getActiveSession()
    if session is None:
        return None
    context = session.sparkContext
    there = context._jvm.org.apache.hadoop.fs.Path(path)
    system = there.getFileSystem(context._jsc.hadoopConfiguration())
    return None if system.getScheme() == "file" else (system, there)


def _local(path):
    return path.removeprefix("file:").replace("///", "/", 1) if path.startswith("file:") else path


def _sync(folder):
    for parent, _, names in os.walk(folder):
        for name in [*names, "."]:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class Writer(MLWriter):
    def __init__(self, instance):
        super().__init__()
        self._instance = instance

    def saveImpl(self, path):
        """A new folder, which is whole or not there."""
        remote = _remote(path)
        there = remote[0].exists(remote[1]) if remote else os.path.exists(_local(path))
        if there:
            raise sparknet.Error(f"{path} is there already; write().overwrite().save(path) takes its place")
        name = f"{os.path.normpath(_local(path))}.{uuid.uuid4().hex[:8]}"
        making = tempfile.mkdtemp() if remote else name
        try:
            os.makedirs(making, exist_ok=bool(remote))
            self._instance._save_files(making)
            # What Spark's readers look for; they ask for a line of text in a folder.
            os.makedirs(os.path.join(making, "metadata"))
            kind = type(self._instance)
            metadata = {
                "class": f"{kind.__module__}.{kind.__name__}",
                "timestamp": int(time.time() * 1000),
                "sparkVersion": pyspark.__version__,
                "uid": self._instance.uid,
                "paramMap": {},
                "defaultParamMap": {},
            }
            write_text(os.path.join(making, "metadata", "part-00000"), json.dumps(metadata))
            if remote:
                self._send(making, *remote)
            else:
                _sync(making)
                os.rename(making, _local(path))
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _send(self, made, system, there):
        path = self.sparkSession.sparkContext._jvm.org.apache.hadoop.fs.Path
        making = path(f"{there.toString()}.{uuid.uuid4().hex[:8]}")
        try:
            system.copyFromLocalFile(path(f"file:{made}"), making)
            if not system.rename(making, there):
                raise sparknet.Error(f"{making} cannot be renamed to {there}")
        finally:
            system.delete(making, True)


class Reader(MLReader):
    def __init__(self, kind):
        super().__init__()
        self._kind = kind

    def load(self, path):
        remote = _remote(path)
        if remote is None:
            return self._load(_local(path))
        system, there = remote
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "copy")
            system.copyToLocalFile(there, self.sparkSession.sparkContext._jvm.org.apache.hadoop.fs.Path(f"file:{copy}"))
            return self._load(copy)

    def _load(self, folder):
        loaded = self._kind._load_files(folder)
        loaded._resetUid(json.loads(read_text(folder, "metadata", "part-00000"))["uid"])
        return loaded


class Saved(MLWritable, MLReadable):
    """Has _save_files(folder) and _load_files(folder)."""

    def write(self):
        return Writer(self)

    @classmethod
    def read(cls):
        return Reader(cls)


def write_text(path, text):
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def read_text(*path):
    with open(os.path.join(*path), encoding="utf-8") as stream:
        return stream.read()


def to_json(value):
    """Arrays and numbers of NumPy as JSON has them."""
    return json.dumps(value, indent=1, default=lambda other: other.tolist())
