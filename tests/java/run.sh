#!/usr/bin/env bash
# Compiles sparknet.Net and SparkNet's loop in Scala against the jars that PySpark brings, its Scala compiler included, and
# runs it: tests/java/run.sh LIBRARY JARS, where LIBRARY is libsparknet_jni.so and JARS the folder.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
library=$1 jars=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/classes"
javac -Xlint:all -Werror -d "$work/classes" "$root"/src/java/sparknet/*.java
java -cp "$jars/*" scala.tools.nsc.Main -usejavacp -Werror -deprecation -cp "$work/classes:$jars/*" -d "$work/classes" \
  "$root/tests/java/Loop.scala"
opens=$(for p in java.base/java.lang java.base/java.lang.invoke java.base/java.nio java.base/java.util java.base/sun.nio.ch \
  java.base/java.util.concurrent java.base/sun.util.calendar; do echo "--add-opens=$p=ALL-UNNAMED"; done)
# shellcheck disable=SC2086
java $opens -Xcheck:jni -DSPARKNET_JNI_LIBRARY="$library" -cp "$work/classes:$jars/*" Loop 2>"$work/log" | tee "$work/out" ||
  { tail -n 40 "$work/log" >&2; exit 1; }
grep -q '^all is well$' "$work/out" || { tail -n 40 "$work/log" >&2; exit 1; }
! grep -A3 "in native method" "$work/log" "$work/out" >&2  # what -Xcheck:jni finds
