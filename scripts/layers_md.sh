#!/usr/bin/env bash
# Writes docs/layers.md from the comments and the fields of the layers' headers; --check changes nothing and fails where
# the file would be another.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The groups of Caffe's catalog, and the headers of each: a new layer needs its name here.
groups='
Vision         | convolution convolution_nd deconvolution deconvolution_nd pooling spp crop im2col
Recurrent      | rnn lstm lstm_unit
Common         | inner_product dropout embed
Normalisation  | batch_norm layer_norm lrn mvn
Activation     | relu prelu elu gelu swish sigmoid tanh absval power exp log bnll clip threshold bias scale
Utility        | flatten reshape permute batch_reindex split concat slice tile eltwise filter parameter reduction silence argmax softmax
Loss           | softmax_with_loss multinomial_logistic_loss infogain_loss euclidean_loss hinge_loss sigmoid_cross_entropy_loss contrastive_loss accuracy
Data           | input rdd dummy_data caffe/data caffe/image_data caffe/hdf5_data caffe/memory_data caffe/hdf5_output
'

generate() {
  awk -v groups="$groups" -f scripts/layers_md.awk src/caffe/layers.h include/sparknet/layers/*.h include/sparknet/caffe/*.h
}

text=$(generate)
if [[ ${1:-} == --check ]]; then
  diff docs/layers.md <(printf '%s\n' "$text") && exit
  echo "docs/layers.md is not what the headers say (<: the file, >: the headers); scripts/layers_md.sh writes it" >&2
  exit 1
fi
part=$(mktemp docs/.layers.md.XXXXXX)
trap 'rm -f "$part"' EXIT
printf '%s\n' "$text" >"$part"
chmod 644 "$part"
mv "$part" docs/layers.md
