# Sourced by run_all.sh and run_tests.sh.
#
# find_python ROOT [EXTRA] sets PYTHON to an interpreter that has cvf20 from the folder ROOT and all it needs
# (with the optional dependencies EXTRA): the current one if cvf20 imports there (conda, Colab), else ROOT/.venv,
# which is made on first use. A .venv whose making was interrupted lacks its stamp and is made anew.

find_python() {
    local root=$1 extra=${2:-} candidate
    for candidate in python python3; do
        if _has_cvf20 "$candidate" "$root"; then
            PYTHON=$(command -v "$candidate")
            "$PYTHON" -P -m cvf20.submission.requirements --install $extra
            return
        fi
    done
    PYTHON=$root/.venv/bin/python
    _venv_is_ready "$root" "$extra" || _make_venv "$root" "$extra"
}

_has_cvf20() { # does cvf20 import in interpreter $1, from folder $2, and is that not the .venv, which has its own stamp?
    "$1" -P - "$2" >/dev/null 2>&1 <<'PYTHON'
import pathlib, sys, cvf20
root = pathlib.Path(sys.argv[1]).resolve()
here = pathlib.Path(cvf20.__file__).resolve().parent.parent == root
sys.exit(0 if here and pathlib.Path(sys.prefix).resolve() != root / ".venv" else 1)
PYTHON
}

_stamp() { # what an environment was made from: a changed pyproject.toml or a moved folder asks for an installation
    printf '%s %s\n' "$(cksum <"$1/pyproject.toml")" "$1"
}

_venv_is_ready() {
    [ "$(cat "$1/.venv/installed-${2:-base}" 2>/dev/null)" = "$(_stamp "$1")" ] && "$1/.venv/bin/python" -c '' 2>/dev/null
}

_make_venv() (
    set -e
    root=$1 extra=$2 venv=$1/.venv
    if command -v flock >/dev/null; then # two first runs at the same time: the second waits, then finds it made
        exec 9>"$root/.venv.lock"
        flock 9
        if _venv_is_ready "$root" "$extra"; then exit 0; fi
    fi
    # Only a whole environment carries a stamp, and only one made in this very place can be added to.
    if ! grep -qsF " $root" "$venv"/installed-* || ! "$venv/bin/python" -c '' 2>/dev/null; then
        echo "making .venv: the first use takes some minutes" >&2
        base=$(_system_python)
        rm -rf "$venv"
        "$base" -m venv "$venv"
    else
        echo "bringing .venv up to date" >&2
    fi
    rm -f "$venv"/installed-*
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --editable "$root${extra:+[$extra]}"
    _stamp "$root" >"$venv/installed-base"
    if [ -n "$extra" ]; then _stamp "$root" >"$venv/installed-$extra"; fi
)

_system_python() {
    local candidate
    for candidate in python3 python python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "no Python 3.11 or newer with venv and pip was found: install one (python.org, conda, or the system's python3-venv)" >&2
    return 1
}
