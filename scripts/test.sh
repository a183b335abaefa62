#!/usr/bin/env bash
# Installs what tests need and runs them; arguments go to pytest, e.g. `-m slow`, `-k gbst`, or
# `--numprocesses 0` for one process.
set -euo pipefail
source "$(dirname "$0")/environment.sh" dev
# Of one thread each, a worker a core and one more: some wait for servers and processes.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python -m pytest --numprocesses "$(($(getconf _NPROCESSORS_ONLN) + 1))" --maxprocesses 8 \
    --dist loadfile --no-loadscope-reorder "$@"
