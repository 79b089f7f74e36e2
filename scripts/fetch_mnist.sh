#!/usr/bin/env bash
# Fetches what is missing of MNIST (11 MB): scripts/fetch_mnist.sh [FOLDER], by default data/mnist of the project.
# A file gets its name only once its checksum is right. Fails with one line where no mirror can be reached.
# SPARKNET_MNIST_MIRROR names a mirror to use instead of the known ones.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/data/mnist}
mirrors=(https://ossci-datasets.s3.amazonaws.com/mnist https://storage.googleapis.com/cvdf-datasets/mnist)
[[ -z ${SPARKNET_MNIST_MIRROR:-} ]] || mirrors=("$SPARKNET_MNIST_MIRROR")
files='
f68b3c2dcbeaaa9fbdd348bbdeb94873 train-images-idx3-ubyte.gz
d53e105ee54ea40749a09fcbcd1e9432 train-labels-idx1-ubyte.gz
9fb629c4189551a2d022fa330f9573f3 t10k-images-idx3-ubyte.gz
ec29112dd5afa0611ce80d1b7f02629c t10k-labels-idx1-ubyte.gz
'

download() {  # URL FILE
  if command -v curl >/dev/null; then
    curl --fail --silent --location --connect-timeout 5 --speed-limit 1000 --speed-time 10 --output "$2" "$1"
  else
    wget --quiet --tries=1 --timeout=10 --output-document="$2" "$1"
  fi
}

command -v curl >/dev/null || command -v wget >/dev/null || { echo "MNIST: needs curl or wget" >&2; exit 1; }
mkdir -p "$folder"
part=
trap 'rm -f "$part"' EXIT
while read -r md5 file; do
  [[ -n $md5 ]] || continue
  [[ -e $folder/$file || -e $folder/${file%.gz} ]] && continue
  why="no mirror could be reached"
  part=$(mktemp "$folder/.$file.XXXXXX")
  for mirror in "${mirrors[@]}"; do
    download "$mirror/$file" "$part" || continue
    if [[ $(md5sum <"$part") == "$md5 "* ]]; then
      chmod 644 "$part"
      mv "$part" "$folder/$file"
      continue 2
    fi
    why="what came from $mirror has another checksum"
  done
  rm -f "$part"
  rmdir --ignore-fail-on-non-empty "$folder"
  echo "MNIST: $file was not fetched: $why" >&2
  exit 1
done <<<"$files"
