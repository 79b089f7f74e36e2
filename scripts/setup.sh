#!/usr/bin/env bash
# Installs what is missing with apt, and nothing else: scripts/setup.sh [build|caffe|download|gloo|mpi|spark|test|ci]...
# Where nothing is missing it prints nothing, does nothing and needs no network.
set -euo pipefail
exec </dev/null

# set | a command, or a header below an include directory | Debian package | what for
needs='
build     cmake                      cmake               configures the build
build     ninja                      ninja-build         runs the build
build     g++                        g++                 compiles
build     eigen3/Eigen/Core          libeigen3-dev       matrices inside the library
build     fmt/core.h                 libfmt-dev          text inside the library
build     zlib.h                     zlib1g-dev          reads .gz data files
build     CLI/CLI.hpp                libcli11-dev        options of the programs
caffe     google/protobuf/message.h  libprotobuf-dev     files of Caffe
caffe     protoc                     protobuf-compiler   files of Caffe
caffe     hdf5/serial/hdf5.h         libhdf5-dev         files of Caffe in HDF5
caffe     lmdb.h                     liblmdb-dev         databases of Caffe
caffe     leveldb/db.h               libleveldb-dev      databases of Caffe
caffe     png.h                      libpng-dev          images
caffe     turbojpeg.h                libturbojpeg0-dev   images
caffe     nlohmann/json.hpp          nlohmann-json3-dev  options of the C ABI
download  curl|wget                  curl                fetches data sets
download  /etc/ssl/certs             ca-certificates     fetches data sets
gloo      gloo/context.h             libgloo-dev         averages over processes
mpi       mpicxx                     libopenmpi-dev      averages over processes
mpi       mpirun                     openmpi-bin         averages over processes
spark     javac                      openjdk-17-jdk-headless  runs Spark, compiles sparknet.Net
spark     /usr/lib/python3*/ensurepip  python3-venv       holds PySpark
test      doctest/doctest.h          doctest-dev         runs the tests
test      /usr/lib/python3/dist-packages/numpy  python3-numpy  runs the tests of the Python package
ci        benchmark/benchmark.h      libbenchmark-dev    builds the benchmarks
ci        clang++                    clang               the second compiler
ci        fuzzer                     libclang-rt-14-dev  fuzzes the readers
ci        clang-format               clang-format        checks the format
ci        ccache                     ccache              compiles once what the example, the wheel and guests have in common
'

have() {  # one of the second column's words
  case $1 in
    /*) [[ -n $(ls $1 2>/dev/null) ]] ;;  # a pattern too
    fuzzer) compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null ;;
    *.*|*/*) [[ -e /usr/include/$1 || -e /usr/local/include/$1 ]] ;;
    *\|*) have "${1%%|*}" || have "${1#*|}" ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

wanted=" ${*:-build} "
[[ $wanted == *" ci "* ]] && wanted+="test "
[[ $wanted == *" test "* ]] && wanted+="build caffe gloo mpi "
[[ $wanted == *" caffe "* ]] && wanted+="build "
packages=() reasons=()
while read -r set what package why; do
  [[ -n $set && $wanted == *" $set "* ]] || continue
  have "$what" && continue
  packages+=("$package") reasons+=("$package ($why)")
done <<<"$needs"
[[ ${#packages[@]} -gt 0 ]] || exit 0

list=$(printf ', %s' "${reasons[@]}")
echo "setup: missing: ${list:2}"
refuse() {
  echo "setup: $1; please install: ${packages[*]}" >&2
  exit 1
}
command -v apt-get >/dev/null || refuse "this is no Debian (apt-get was not found), so nothing was installed"
as_root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || refuse "installing needs root, and sudo was not found"
  # A password can be typed only where somebody sits.
  sudo -n true 2>/dev/null || [[ -t 1 ]] || refuse "installing needs root, and sudo asks for a password"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }
echo "setup: installing with apt-get: ${packages[*]}"
apt update || true  # a mirror that is away matters only if the packages cannot be had; then the next line says so
if ! apt install --no-install-recommends "${packages[@]}"; then
  tail -n 15 "$log" >&2
  refuse "apt-get failed"
fi
# Trees that were configured without these packages look for them again in their next build.
touch -c "$(dirname "${BASH_SOURCE[0]}")"/../build/*/CMakeCache.txt
