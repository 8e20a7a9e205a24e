#!/usr/bin/env python3
"""Looks at images with Spark, one process of the detector per partition, and with one process alone: the answers are
the same, in the same order.

    spark_pipe.py DETECTOR PATHS.txt [PARTITIONS]

PATHS.txt has the path of an image per line. On a cluster, every worker needs the detector (`spark.sparkContext.addFile`)
and the images on a shared disk, or the images themselves: lines {"id": ..., "image": "<base64>"} need neither.
Needs: pip install pyspark, and Java 17 or later.
"""

import json
import shlex
import subprocess
import sys

from pyspark.sql import SparkSession


def with_spark(command, lines, partitions):
    session = SparkSession.builder.master(f"local[{partitions}]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        answers = session.sparkContext.parallelize(lines, partitions).pipe(command, checkCode=True)
        return answers.map(json.loads).collect()
    finally:
        session.stop()


def in_one_process(command, lines):
    ended = subprocess.run(
        shlex.split(command), input="".join(line + "\n" for line in lines), stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def main(detector, paths, partitions="2"):
    command = f"{shlex.quote(detector)} pipe --threads 1"
    with open(paths) as file:
        lines = file.read().splitlines()
    spread = with_spark(command, lines, int(partitions))
    alone = in_one_process(command, lines)
    if spread != alone:
        sys.exit(f"{len(spread)} answers with Spark differ from {len(alone)} of one process")
    objects = sum(len(answer.get("boxes", [])) for answer in alone)
    errors = sum("error" in answer for answer in alone)
    print(f"{len(alone)} answers, {objects} objects, {errors} errors: the same with Spark and in one process")


if __name__ == "__main__":
    main(*sys.argv[1:])
