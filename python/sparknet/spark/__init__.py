"""Trains nets on the partitions of a Spark DataFrame, as SparkNet did. docs/spark.md has the tour."""

from .estimator import SparkNetEstimator, SparkNetModel

__all__ = ["SparkNetEstimator", "SparkNetModel"]
