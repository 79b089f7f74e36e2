#!/usr/bin/env bash
# Builds tests/consumer, a program outside, and runs it. Called by ctest:
#   consumer_test.sh find_package|add_subdirectory SOURCE BUILD WORK COMPILER GENERATOR MPI GLOO CAFFE C
#   find_package      from an install of the build tree BUILD
#   add_subdirectory  with the library built inside the other project, as a shared one
set -euo pipefail
how=$1 source=$2 build=$3 work=$4/$1 compiler=$5 generator=$6 mpi=$7 gloo=$8 caffe=$9 c=${10}
rm -rf "$work"
options=(-S "$source/tests/consumer" -B "$work/build" -G "$generator" -DCMAKE_CXX_COMPILER="$compiler" -DWITH_MPI="$mpi" -DWITH_GLOO="$gloo" -DWITH_CAFFE="$caffe" -DWITH_C="$c")
case $how in
  find_package)
    cmake --install "$build" --prefix "$work/prefix" >"$work.install.log"
    options+=(-DCMAKE_PREFIX_PATH="$work/prefix")
    ;;
  add_subdirectory)
    options+=(-DSPARKNET_SOURCE="$source" -DSPARKNET_MPI="$mpi" -DSPARKNET_GLOO="$gloo" -DSPARKNET_CAFFE="$caffe" -DSPARKNET_C="$c" -DBUILD_SHARED_LIBS=ON)
    # What is tested is the build, not the speed of compiling the same files once more.
    if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
    ;;
esac
cmake "${options[@]}"
cmake --build "$work/build" --parallel "$(nproc)"
for program in $(find "$work/build" -name "consumer*" -type f -perm -u+x); do "$program"; done
