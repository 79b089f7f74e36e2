"""What both modes do on the driver."""

import contextlib
import logging

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from .worker import error_of

log = logging.getLogger("sparknet.spark")


@contextlib.contextmanager
def library_errors():
    """What a task reported is raised in the library's words instead of a Java stack trace."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as failure:
        error = error_of(failure)
        if error is None:
            raise
        raise error from None


def log_round(stats):
    log.info(
        "round %d: iteration %d, loss %s, %.3f s = %s",
        stats["round"],
        stats["iteration"],
        "none" if stats["loss"] is None else f"{stats['loss']:.4f}",
        stats["wall"],
        " + ".join(f"{name} {seconds:.3f}" for name, seconds in stats["phases"].items()),
    )


def ordered(frame):
    """The frame with the rows of each partition in an order that depends on nothing but them. What came through a shuffle
    has another order when it is computed again, and an executor that is lost would change the result."""
    return frame.sortWithinPartitions(F.xxhash64(*frame.columns))
