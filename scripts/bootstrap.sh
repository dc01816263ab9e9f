# Sourced by scripts/run and scripts/test (POSIX sh): a Python, a .venv and a torch that fits this machine.
# Idempotent: what was installed is remembered as a hash in .venv, and a second call does not start pip.
#
#   PYTHON        the interpreter to use instead of searching for one (3.11 or newer)
#   SVD_UI_TORCH  cpu or cuda, instead of looking for nvidia-smi
#
# shellcheck shell=sh

VENV=.venv
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "svd-ui: $*" >&2; }
fail() { say "$*"; exit 1; }

# A name may exist and still not run (a version manager's shim), so each is tried.
is_python() { "$1" -c "import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < ($2)))" >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_python "$PYTHON" "4, 0" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
        return
    fi
    for PYTHON in python3 python3.13 python3.12 python3.11 python; do
        is_python "$PYTHON" "3, 14" && return
    done
    for PYTHON in python3 python3.14; do
        is_python "$PYTHON" "4, 0" && return
    done
    case "$(uname -s)" in
        Darwin) fail "No Python 3.11 or newer found. Install one: 'brew install python@3.12' or python.org." ;;
        *) fail "No Python 3.11 or newer found. Install one: 'sudo apt install python3 python3-venv'." ;;
    esac
}

make_venv() {
    if [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    find_python
    if ! "$PYTHON" -c "import venv, ensurepip" >/dev/null 2>&1; then
        version=$("$PYTHON" -c "import sys; print('%d.%d' % sys.version_info[:2])")
        fail "$PYTHON cannot make virtual environments. Install the missing package:
    sudo apt install python$version-venv      (or: sudo apt install python3-venv)
then run this command again."
    fi
    say "making $VENV with $("$PYTHON" --version)"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" || fail "$VENV could not be made."
}

# cuda where an NVIDIA driver answers; mac: the one wheel there is; else cpu.
torch_choice() {
    if [ -n "${SVD_UI_TORCH:-}" ]; then
        echo "$SVD_UI_TORCH"
    elif [ "$(uname -s)" = Darwin ]; then
        echo mac
    elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
        echo cuda
    else
        echo cpu
    fi
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }

# The CPU build is a tenth of the size of PyPI's. Its name ends in +cpu, so asking for exactly that tells at once
# whether an index has it: first whatever pip is configured with, then PyTorch's own.
install_cpu_torch() {
    pin=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements.txt)
    if "$VENV/bin/python" -c "import importlib.metadata as m; assert m.version('torch').split('+')[0] == '$pin'" 2>/dev/null; then
        return
    fi
    say "installing torch $pin for the CPU"
    pip install --quiet --no-deps --retries 1 --timeout 10 "torch==$pin+cpu" 2>/dev/null && return
    pip install --no-deps --retries 1 --timeout 10 --index-url "$TORCH_CPU_INDEX" "torch==$pin+cpu" && return
    say "the CPU build of torch cannot be reached; taking PyPI's, which is several GB"
}

# install TORCH FILE...: everything the files list, as this machine needs it.
install() {
    choice=$1
    shift
    mark=$(cat "$@" scripts/bootstrap.sh | cksum | tr ' ' -)-$choice
    stamp=$VENV/.installed-$(basename "$1" .txt)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$mark" ]; then
        return
    fi
    say "installing what $* lists; this takes some minutes the first time"
    wanted=$VENV/wanted.txt
    if [ "$choice" = cuda ]; then
        cat "$@" >"$wanted"
    else
        # xformers works on CUDA only.
        cat "$@" | grep -v '^xformers' >"$wanted"
    fi
    if [ "$choice" = cpu ]; then
        install_cpu_torch
    fi
    pip install --quiet -r "$wanted" || fail "pip could not install everything; see above. Run this command again to resume."
    printf '%s\n' "$mark" >"$stamp"
}
