#!/usr/bin/env bash
# Makes the Python that a job runs in, and writes its path into ./environment-python.
#
#     bash code/bootstrap.sh [REQUIREMENTS]        run in the job's folder
#
# The environment lies below the workspace under a name that is the hash of the pinned requirements and the Python: it
# is made once on a volume that outlives pods, and anew where there is none. Run again after it broke off, it goes on:
# only a finished environment has the file `complete`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
requirements=${1:-$here/requirements-gpu.txt}
python=${BIZCHARTS_PYTHON:-python3}
workspace=${BIZCHARTS_WORKSPACE:-/workspace}
mkdir -p "$workspace" 2>/dev/null && [ -w "$workspace" ] || workspace=$HOME/workspace

"$python" --version
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    nvidia-smi | grep -o 'CUDA Version: *[0-9.]*' || true
else
    echo "no nvidia-smi here"
fi

name=$( { cat "$requirements"; "$python" -c 'import sys; print(sys.version_info[:2])'; } | sha256sum | cut -c1-12)
folder=$workspace/bizcharts/environments/$name
mkdir -p "$folder"

(
    flock 9 # pods may share a volume
    if [ ! -f "$folder/complete" ]; then
        echo "installing $(grep -c '==' "$requirements") pinned packages into $folder"
        if command -v uv >/dev/null; then
            export UV_LINK_MODE=copy UV_HTTP_TIMEOUT=120
            [ -x "$folder/venv/bin/python" ] || uv venv --quiet --python "$python" "$folder/venv"
            uv pip install --python "$folder/venv/bin/python" --requirement "$requirements"
        else
            [ -x "$folder/venv/bin/pip" ] || "$python" -m venv --clear "$folder/venv"
            "$folder/venv/bin/pip" install --no-input --progress-bar off --timeout 60 --retries 5 \
                --requirement "$requirements"
        fi
        touch "$folder/complete"
    fi
) 9>"$folder/lock"

"$folder/venv/bin/python" -c 'import importlib.util as u
if u.find_spec("torch"):
    import torch
    print("torch", torch.__version__, "CUDA", torch.version.cuda, "usable:", torch.cuda.is_available())'
echo "$folder/venv/bin/python" >environment-python.new
mv environment-python.new environment-python
