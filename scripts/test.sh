#!/usr/bin/env bash
# Installs what tests need and runs them; arguments go to pytest, e.g. `-m slow`, `-k gbst`, or
# `--numprocesses 0` for one process.
set -euo pipefail
source "$(dirname "$0")/environment.sh" dev
# A worker a core, so that two do not share the threads of one.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile "$@"
