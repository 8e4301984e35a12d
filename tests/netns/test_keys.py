"""rsip and rsip-hostd with keys and certificates: both ends of ours, and what either says no to."""
import json
import pathlib
import subprocess

import pytest

import topo
from topo import BUILD, NA, X1

RSIP = BUILD / "bin" / "rsip"


def genkey(name):
    return subprocess.run([RSIP, "genkey", name], capture_output=True, text=True,
        check=True).stdout


@pytest.fixture
def net():
    reason = topo.why_not()
    if reason:
        pytest.skip(reason)
    with topo.Net(tag="k") as n:
        topo.road(n)
        n.line = genkey("x1")
        n.keys = write(n, "keys", n.line + genkey("x2"))
        n.key = write(n, "x1.key", n.line)
        yield n
        n.run("x1", RSIP, "down", check=False)


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None  # it has ended: the lister itself


def write(net, name, text):
    path = net.dir / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def gateway(net, section):
    g = topo.Gateway(net)
    g.conf.write_text(g.conf.read_text() + section)
    return g.start()


def lease(net, *options, check=True):
    return net.run("x1", RSIP, "lease", "-g", NA, *options, "--json", check=check)


def refused(net, *options):
    p = subprocess.run(net.words("x1", [RSIP, "lease", "-g", NA, *map(str, options)]),
        capture_output=True, text=True, timeout=60)
    assert p.returncode == 1, p
    return p.stderr


def down(net):
    net.run("x1", RSIP, "down", check=False)  # it may have ended, having nothing to hold


# F-3.3-03, F-3.3-04: both ends of ours with a shared key, over either transport.
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_shared_key(net, transport):
    g = gateway(net, f'security {{ require = {{ "tls", "hmac" }} \n key-file = "{net.keys}" }}')
    options = ("--transport", transport, "--key-file", net.key)
    bind = json.loads(lease(net, *options))["bind_id"]
    assert [b["bind_id"] for b in g.show("bindings")] == [bind]
    # An unasked message arrives, and the gateway's restart is survived.
    net.run("n", RSIP, "gateway", "release", bind, "--socket", net.dir / "rsipd.sock")
    topo.wait_for(lambda: not json.loads(net.run("x1", RSIP, "status", "--json"))["bindings"],
        "the host hears of it")
    g.end()
    g.start()
    bind = json.loads(lease(net, *options))["bind_id"]
    assert bind in [b["bind_id"] for b in g.show("bindings")]
    net.run("x1", RSIP, "free", bind)
    down(net)
    topo.wait_for(lambda: not g.show("clients"), "it has deregistered")
    assert g.end() == 0


@pytest.mark.parametrize("transport,said", [("tcp", "TLS"), ("udp", "without a seal")])
def test_the_wrong_key(net, transport, said):
    g = gateway(net, f'security {{ require = {{ "tls", "hmac" }} \n key-file = "{net.keys}" }}')
    wrong = write(net, "wrong.key", genkey("x1"))
    assert said in refused(net, "--transport", transport, "--key-file", wrong)
    down(net)
    # Without any it hears what a stranger hears.
    assert "304" in refused(net, "--transport", transport)
    assert g.show("clients") == []
    assert g.end() == 0


# A downgrade: who has a key takes nothing plain from anybody.
@pytest.mark.parametrize("transport,said", [("tcp", "TLS"), ("udp", "without a seal")])
def test_a_gateway_without_keys(net, transport, said):
    g = gateway(net, "")
    assert said in refused(net, "--transport", transport, "--key-file", net.key)
    down(net)
    assert json.loads(lease(net, "--transport", transport))["bind_id"]
    assert g.end() == 0


def test_keys_in_the_file_and_a_killed_daemon(net):
    g = gateway(net, f'security {{ require = "tls" \n key-file = "{net.keys}" }}')
    conf = write(net, "rsip.conf", f'host {{ gateway = "{NA}" \n key-file = "{net.key}" }}')
    bind = json.loads(net.run("x1", RSIP, "lease", "-c", conf, "--json"))["bind_id"]
    # By its socket's lock: the daemon of this namespace alone.
    pids = net.run("x1", "ip", "netns", "pids", net.ns("x1")).split()
    daemons = [p for p in pids if name_of(p) == "rsip-hostd"]
    assert len(daemons) == 1
    net.run("x1", "kill", "-9", daemons[0])
    # Its successor has no option that names the key: the state does.
    second = json.loads(lease(net))["bind_id"]
    assert {b["bind_id"] for b in g.show("bindings")} == {bind, second}
    assert len(g.show("clients")) == 1
    assert g.end() == 0


def openssl(net, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=net.dir, check=True, capture_output=True)


def certificate(net, name, san):
    (net.dir / f"{name}.ext").write_text(f"subjectAltName={san}\n")
    openssl(net, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", f"{name}.pem.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
    openssl(net, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def test_certificates(net):
    openssl(net, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "ca.key", "-subj", "/CN=ca", "-days", "1", "-out", "ca.pem")
    certificate(net, "gateway", f"IP:{NA},DNS:gw.example")
    certificate(net, "x1", f"IP:{X1}")
    d = net.dir
    g = gateway(net, f'''security {{ require = "tls" \n tls-certificate = "{d}/gateway.pem"
        tls-key = "{d}/gateway.pem.key" \n tls-authority = "{d}/ca.pem" }}''')
    ours = ("--tls-certificate", d / "x1.pem", "--tls-key", d / "x1.pem.key", "--tls-authority",
        d / "ca.pem")
    assert json.loads(lease(net, *ours))["bind_id"]
    down(net)
    assert json.loads(lease(net, *ours, "--tls-name", "gw.example"))["bind_id"]
    down(net)
    # Another gateway of the same authority is not ours.
    assert "TLS" in refused(net, *ours, "--tls-name", "other.example")
    assert g.end() == 0


def test_genkey():
    name, key = genkey("x1").split()
    assert name == "x1" and len(key) == 44 and genkey("x1").split()[1] != key
    p = subprocess.run([RSIP, "genkey", "a b"], capture_output=True, text=True)
    assert p.returncode == 2 and "NAME" in p.stderr
