#!/usr/bin/env bash
# Regenerates the notebooks, their figures and results, and publishes them: ./run_all.sh --help
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$root/scripts/env.sh"
find_python "$root"
exec "$PYTHON" -P -m cvf20.submission.run "$@"
