"""What rsipd may still do once it serves: user, capabilities, files, system calls."""
import os
import pathlib
import pwd
import shutil
import tempfile

import pytest

from conftest import Gateway


def status_of(gateway):
    text = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return {k: v.split() for k, v in (line.split(":", 1) for line in text.splitlines())}


def is_sanitized(gateway):
    return b"__asan_init" in pathlib.Path(f"/proc/{gateway.process.pid}/exe").read_bytes()


@pytest.fixture
def as_nobody():
    """A gateway that becomes nobody, in a folder that nobody can walk to."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    if pathlib.Path("/proc/self/uid_map").read_text().split()[2] == "1":
        pytest.skip("this user namespace knows one user only")
    folder = tempfile.mkdtemp(prefix="rsip-confined-")
    os.chmod(folder, 0o755)
    g = Gateway(folder)
    g.configure(gateway='user = "nobody"')
    yield g
    g.close()
    shutil.rmtree(folder)


def test_serving_is_confined(running):
    """Driver none: no capability at all, nothing gained by exec, few calls, few files."""
    status = status_of(running)
    assert status["NoNewPrivs"] == ["1"]
    for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert int(status[kind][0], 16) == 0, (kind, status[kind])
    if not is_sanitized(running):
        assert status["Seccomp"] == ["2"]
        assert "calls=few" in running.log.read_text()
    assert "confined user=" in running.log.read_text()


def test_reload_and_end_are_not_in_its_way(running):
    running.configure(gateway="registration-lease = 77", metrics=True)
    assert "configuration taken" in running.reload()
    assert running.udp("127.0.0.2").register().lease == 77
    assert running.stop() == 0
    assert not running.socket.exists()


def test_without_sandbox(gateway):
    gateway.configure(gateway="sandbox = false").start()
    assert status_of(gateway)["Seccomp"] == ["0"]
    assert "files=all calls=all" in gateway.log.read_text()


def test_another_user(as_nobody):
    g = as_nobody.start()
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    status = status_of(g)
    assert status["Uid"] == [nobody] * 4 and int(status["CapPrm"][0], 16) == 0
    host = g.udp("127.0.0.2")
    bind = (host.register(), host.assign(2))[1].bind
    assert str(os.stat(g.state / "leases.mdb").st_uid) == nobody
    # A reload reads the file again.
    g.configure(gateway='user = "nobody"\n registration-lease = 78')
    assert "configuration taken" in g.reload()
    # Killed, it is followed by one that finds all of it.
    g.kill()
    g.start()
    assert [b["bind_id"] for b in g.json("show", "bindings")] == [bind]
    assert g.stop() == 0


def test_a_user_that_cannot_be(as_nobody):
    g = as_nobody
    g.configure(gateway='user = "rsip-no-such"').start(expect_ready=False)
    assert g.process.wait(20) != 0
    assert "there is no user rsip-no-such" in g.log.read_text()
    g.configure(gateway='user = "nobody"')
    g.file.chmod(0o600)
    g.start(expect_ready=False)
    assert g.process.wait(20) == 2
    assert f"user nobody cannot read {g.file}" in g.log.read_text()


def test_root_is_said_aloud(running):
    if os.geteuid() != 0:
        pytest.skip("not root")
    text = running.log.read_text()
    assert "running as root reason=" in text or "confined user=rsip" in text
