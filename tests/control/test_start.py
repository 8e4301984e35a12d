"""Starting and stopping: readiness, directories, second instances, signals, the background."""
import os
import signal
import socket
import subprocess
import threading

import pytest

import rsip
from conftest import Gateway, RSIPD, wait_for


def test_ready_is_said_in_the_log_too(running):
    wait_for(lambda: "rsipd: ready" in running.log.read_text(), "the log says it")


def test_directories_are_made(gateway):
    gateway.state = gateway.folder / "a" / "b" / "state"
    gateway.socket = gateway.folder / "c" / "d" / "x.sock"
    gateway.configure().start()
    assert (gateway.state / "leases.mdb").exists() and gateway.socket.exists()
    assert gateway.state.stat().st_mode & 0o777 == 0o700


def test_systemd_is_told(gateway, monkeypatch):
    path = str(gateway.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        gateway.configure().start()
        assert s.recv(100) == b"READY=1"
        assert s.recv(100) == b"WATCHDOG=1"
        gateway.process.terminate()
        while (text := s.recv(100)) != b"STOPPING=1":
            assert text == b"WATCHDOG=1"


def test_abstract_notify_socket(gateway, monkeypatch):
    name = f"rsip-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0" + name)
        s.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        gateway.configure().start()
        assert s.recv(100) == b"READY=1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly(running, number):
    assert running.stop(number) == 0
    assert "stopping" in running.log.read_text()


# P-9.5-03: a stop that keeps the leases tells the hosts nothing.
def test_sigterm_sends_nothing(running):
    host, stream = running.udp("127.0.0.2"), running.tcp("127.0.0.3")
    host.register()
    host.assign()
    stream.register()
    stream.assign()
    assert running.stop() == 0
    assert host.silent()
    assert stream.receive() is None


def fails(gateway, status=1):
    """What a start that must fail says."""
    p = subprocess.run([RSIPD, "-c", gateway.file, "-f"], capture_output=True, text=True, timeout=30)
    assert (p.returncode, p.stdout) == (status, ""), p
    return p.stderr


def test_second_instance_is_refused(running):
    text = fails(running)
    assert "leases.mdb" in text
    assert running.udp("127.0.0.2").register().type == rsip.REGISTER_OK


def test_port_in_use(gateway):
    gateway.configure()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(gateway.at)
        text = fails(gateway)
    assert f"127.0.0.1:{gateway.port} (UDP)" in text and "in use" in text
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(gateway.at)
        s.listen()
        text = fails(gateway)
    assert f"127.0.0.1:{gateway.port} (TCP)" in text and "in use" in text


def test_address_that_is_not_here(gateway):
    gateway.configure(listen="192.0.2.77:4555")
    assert "192.0.2.77:4555" in fails(gateway)


def test_metrics_port_in_use(gateway):
    gateway.configure(metrics=True)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", gateway.http_port))
        s.listen()
        assert f"127.0.0.1:{gateway.http_port}" in fails(gateway)


def test_interfaces_are_needed_for_packets(gateway):
    gateway.configure()
    gateway.file.write_text(gateway.file.read_text().replace('"none"', '"packet"'))
    text = fails(gateway, 2)
    assert "private-interface" in text and str(gateway.file) in text


def test_bad_file_is_refused_at_start(gateway):
    gateway.file.write_text("gateway {\n oops = 1\n}\n")
    assert f"{gateway.file}:2: " in fails(gateway, 2)


def test_background(gateway):
    """Without -f the command returns when the daemon is ready, with its line on stdout."""
    gateway.configure()
    p = subprocess.run([RSIPD, "-c", gateway.file], capture_output=True, text=True, timeout=30)
    assert p.returncode == 0 and "ready" in p.stdout
    try:
        status = gateway.json("show", "status")
        assert status["driver"] == "none"
        assert gateway.udp("127.0.0.2").register().type == rsip.REGISTER_OK
    finally:
        pid = daemon_of(gateway)
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not gateway.socket.exists(), "the daemon ends")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or is_zombie(pid), "its process is gone")


def daemon_of(gateway):
    """The process that serves the control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect(str(gateway.socket))
        return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")


def is_zombie(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_background_tells_of_failure(gateway):
    gateway.configure()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(gateway.at)
        p = subprocess.run([RSIPD, "-c", gateway.file], capture_output=True, text=True, timeout=30)
    assert p.returncode == 1 and "in use" in p.stderr


def test_closed_stdout_does_not_matter(gateway):
    """SIGPIPE is ignored: the reader of the ready line may go."""
    gateway.configure()
    read, write = os.pipe()
    os.close(read)
    with open(gateway.log, "ab") as log:
        gateway.process = subprocess.Popen([RSIPD, "-c", gateway.file, "-f"], stdout=write, stderr=log)
    os.close(write)
    gateway.process.stdout = open(os.devnull, "rb")
    wait_for(lambda: "rsipd: ready" in gateway.log.read_text(), "it is ready")
    assert gateway.udp("127.0.0.2").register().type == rsip.REGISTER_OK


def test_verbose_log_tells_what_hosts_do(gateway):
    gateway.configure().start(options=["-v"])
    host = gateway.udp("127.0.0.2")
    host.register()
    grant = host.assign_ipsec(1, 64)
    host.extend(grant.bind, 7000)
    host.free(grant.bind)
    host.deregister()
    lines = [l.split(": ", 1)[1] for l in gateway.log.read_text().splitlines() if "host=127.0.0.2" in l]
    port, first = min(grant.local_ports()), min(grant.local_spis())
    what = (f"host=127.0.0.2 bind={grant.bind} method=rsipsec address=203.0.113.1 ports={port} "
        f"spi={first:#010x}-{first + 63:#010x} ")
    assert [l.split(" host=")[0] for l in lines] == ["host registered", "lease granted",
        "lease extended", "lease ended", "registration ended"]
    for line in lines[1:4]:
        assert what in line
    assert lines[3].endswith("reason=freed") and lines[4].endswith("reason=deregistered")


def caps(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as f:
        return dict(line.split(":\t") for line in f.read().splitlines() if ":\t" in line)


def test_rights_are_given_up(running):
    """Driver none needs none."""
    status = caps(running)
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"].strip() == "1"
    assert int(status["Threads"]) == 1
    if os.geteuid() == 0:
        assert int(status["CapBnd"], 16) == 0


def test_without_root(tmp_path):
    """All of it as an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("the whole suite already runs without root")
    base = f"/tmp/rsip-test-{os.getpid()}"
    os.mkdir(base, 0o755)
    os.chown(base, 65534, 65534)
    g = Gateway(base, ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    try:
        os.close(os.open(g.log, os.O_CREAT | os.O_WRONLY))
        g.configure()
        os.chmod(g.file, 0o644)
        try:
            g.start()
        except AssertionError:
            if "Permission denied" in g.log.read_text():
                pytest.skip("the build folder is closed to other users")
            raise
        host = g.udp("127.0.0.2")
        host.register()
        assert host.assign().type == rsip.ASSIGN_RSAP_OK
        assert g.stop() == 0
    finally:
        g.close()
        subprocess.run(["rm", "-rf", base], check=True)


def test_hundreds_of_connections_and_one_thread(running):
    hosts = [running.tcp(f"127.0.{n // 100 + 1}.{n % 100 + 1}") for n in range(500)]
    errors = []

    def register(part):
        for h in part:
            if h.register().type != rsip.REGISTER_OK:
                errors.append(h)
    threads = [threading.Thread(target=register, args=(hosts[n::4],)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and running.metric("rsip_clients") == 500
