"""The programs where `make install` puts them."""
import shutil
import subprocess

from conftest import BUILD


def test_daemon_in_sbin_is_found(tmp_path):
    """`rsip up` starts the rsip-hostd of its own installation, on PATH or not."""
    for folder, name in (("bin", "rsip"), ("sbin", "rsip-hostd")):
        (tmp_path / folder).mkdir()
        shutil.copy(BUILD / "bin" / name, tmp_path / folder)
    conf = tmp_path / "rsip.conf"
    conf.write_text("host {\n    colour = 1\n}\n")
    p = subprocess.run([tmp_path / "bin" / "rsip", "up", "-c", conf, "--socket", tmp_path / "s"],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=30)
    # The daemon itself speaks.
    assert f"{conf}:2: no such option 'colour'" in p.stderr
    assert p.returncode == 2
