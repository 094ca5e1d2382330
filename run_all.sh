#!/usr/bin/env bash
# Regenerates the notebooks, their figures and results, and publishes them: ./run_all.sh --help
# ./run_all.sh --lab opens the notebooks in JupyterLab instead, in the same environment.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$root/scripts/env.sh"
if [ "${1:-}" = --lab ]; then
    shift
    find_python "$root" jupyter
    exec "$PYTHON" -m jupyterlab "$@" "$root/notebooks"
fi
find_python "$root"
exec "$PYTHON" -P -m cvf20.submission.run "$@"
