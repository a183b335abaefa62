#!/usr/bin/env bash
# What pretraining is worth: the corpus, the small models and every fine-tuning run that is not
# there yet, many hours on 2 cores from nothing. A killed call goes on where it was. The quality table
# is of the model that the package ships. Needs the data that the environment variable KEBYT5_DATA
# names; options go to `kebyt5 bench quality`.
set -euo pipefail
: "${KEBYT5_DATA:?has to name the folder of the data}"
source "$(dirname "$0")/environment.sh" dev

corpus=runs/corpus-tiny
kebyt5 corpus build scripts/corpus/tiny.yaml
pretrain() {
    local run=$1 preset=$2
    shift 2
    if [ ! -f "runs/$run/model.safetensors" ] || [ ! -f "runs/$run/metrics.json" ]; then
        kebyt5 pretrain --config "scripts/pretrain/$preset.yaml" --corpus "$corpus" \
            --output "runs/$run" --resume "$@"
    fi
}
pretrain gbst-kebyt5-tiny-first gbst-tiny
pretrain gbst-kebyt5-tiny-second gbst-tiny-2
pretrain gbst-kebyt5-tiny-third gbst-tiny-3
pretrain gbst-kebyt5-tiny-fourth gbst-tiny-4
pretrain gbst-kebyt5-tiny-fifth gbst-tiny-5
pretrain gbst-kebyt5-tiny-sixth gbst-tiny-6
pretrain gbst-kebyt5-tiny gbst-tiny-7
pretrain kebyt5-tiny plain-tiny
# Beside the twin: as many steps, and as many as take the time of its 1,200.
pretrain gbst-kebyt5-tiny-short gbst-tiny --steps 1200 --short 0.5 --no-bf16
pretrain gbst-kebyt5-tiny-equal-time gbst-tiny --steps 1960 --short 0.5 --no-bf16
kebyt5 bench pretrained runs/kebyt5-tiny runs/gbst-kebyt5-tiny{-short,-equal-time,} \
    --corpus "$corpus" --output docs/results
kebyt5 bench quality scripts/quality.yaml "$@"
