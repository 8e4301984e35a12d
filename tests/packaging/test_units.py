"""systemd units, by systemd's own judgement."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build"))
UNITS = sorted(p.name.removesuffix(".in") for p in (ROOT / "packaging/systemd").glob("*.service.in"))


@pytest.fixture
def unit(request, tmp_path):
    """The unit as installed, but with programs of the build tree, which exist."""
    text = (BUILD / "packaging" / request.param).read_text()
    text = re.sub(r"=\S*/(rsip\S*)", lambda m: f"={BUILD}/bin/{m[1]}", text)
    path = tmp_path / request.param
    path.write_text(text)
    for other in UNITS:
        if other != request.param:
            (tmp_path / other).write_text(f"[Service]\nExecStart={BUILD}/bin/rsip\n")
    return path


def analyze(*words):
    return subprocess.run(["systemd-analyze", "--no-pager", *words], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("unit", UNITS, indirect=True)
def test_systemd_understands_it(unit):
    told = analyze("verify", "--man=no", str(unit))
    about = [line for line in told.stdout.splitlines() if unit.name in line]
    assert not about, told.stdout


@pytest.mark.parametrize("unit, most", [("rsipd.service", 2.5), ("rsip-kxd.service", 4.0)], indirect=["unit"])
def test_exposure(unit, most):
    told = analyze("security", "--offline=true", str(unit))
    level = float(re.search(r"exposure level for \S+: ([\d.]+)", told.stdout)[1])
    assert level <= most, told.stdout
