#!/usr/bin/env bash
# What pretraining is worth, some hours on 2 cores; a killed call goes on where it was. Needs
# KEBYT5_DATA, runs/corpus-tiny, runs/gbst-kebyt5-tiny and runs/kebyt5-tiny (docs/pretraining.md).
set -euo pipefail
source "$(dirname "$0")/environment.sh" bench
kebyt5 bench pretrained runs/gbst-kebyt5-tiny runs/kebyt5-tiny --corpus runs/corpus-tiny \
    --output docs/results
kebyt5 bench quality scripts/quality.yaml "$@"
