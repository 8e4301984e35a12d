"""TLS on the same TCP port, with other people's ends: openssl s_client for keys, Python's ssl for
certificates (cryptography makes them)."""
import contextlib
import datetime
import shutil
import socket
import ssl
import subprocess

import pytest

import rsip
from conftest import wait_for
from seal import Key, key_file

ALICE, BOB = Key("alice"), Key("bob")


class Tunnel(rsip.Tcp):
    """A host behind `openssl s_client`, which has the key."""

    def __init__(self, gateway, addr, name, secret, *more):
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect",
            "%s:%d" % gateway, "-bind", f"{addr}:0", "-psk_identity", name, "-psk", secret.hex(),
            *more], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
        theirs.close()
        self.sock, self.buffer, self.counter = ours, b"", None

    def close(self):
        self.sock.close()
        self.process.kill()
        self.process.wait(10)
        self.process.stderr.close()


@pytest.fixture
def guarded(gateway):
    if not shutil.which("openssl"):
        pytest.skip("no openssl: run make deps")
    file = key_file(gateway.folder / "keys", ALICE, BOB)
    gateway.more = f'key-file = "{file}"'
    gateway.configure(metrics=True, more=f'security {{ require = "tls" \n {gateway.more} }}')
    return gateway


def tunnel(gateway, addr, name, secret, *more):
    host = Tunnel(gateway.at, addr, name, secret, *more)
    gateway.hosts.append(host)
    return host


# F-3.3-03: TLS is told by its first byte; what is spoken inside is the same protocol.
def test_a_shared_key(guarded):
    guarded.start()
    host = tunnel(guarded, "127.0.0.2", "alice", ALICE.secret)
    assert host.register().type == rsip.REGISTER_OK
    binds = [host.assign(4).bind for _ in range(20)]
    guarded.cli("release", str(binds[0]))
    assert host.receive().bind == binds[0]  # unasked, on the same connection
    assert host.free(binds[1]).type == rsip.FREE_OK
    assert guarded.metric('rsip_tls_handshakes_total{result="good"}') == 1


def test_plain_is_not_enough(guarded):
    guarded.start()
    assert guarded.tcp("127.0.0.3").register().error == 304
    assert guarded.udp("127.0.0.3").register().error == 304
    host = tunnel(guarded, "127.0.0.2", "alice", ALICE.secret)
    host.register()
    # Her session is hers, also for whoever has her address.
    for thief in (guarded.tcp("127.0.0.2"), tunnel(guarded, "127.0.0.2", "bob", BOB.secret)):
        thief.client = host.client
        assert thief.deregister().error == 301
    assert host.assign(1).type == rsip.ASSIGN_RSAP_OK


@pytest.mark.parametrize("name,key,more", [
    ("alice", "bob", ()),
    ("mallory", "bob", ()),
    ("alice", "alice", ("-tls1_2",)),
    ("alice#00000000", "alice", ()),
    ("alice", "alice", ("-alpn", "http/1.1")),
])
def test_handshakes_that_fail(guarded, name, key, more):
    guarded.start()
    host = tunnel(guarded, "127.0.0.2", name, {"alice": ALICE, "bob": BOB}[key].secret, *more)
    host.send(rsip.message(rsip.REGISTER))
    assert host.receive() is None
    wait_for(lambda: guarded.metric('rsip_tls_handshakes_total{result="failed"}') == 1 and
        guarded.metric("rsip_connections") == 0, "it is refused and gone")
    assert guarded.json("show", "clients") == []


def test_names_with_the_number_of_a_key_and_alpn(guarded):
    guarded.start()
    host = tunnel(guarded, "127.0.0.2", "bob#" + BOB.id.hex(), BOB.secret, "-alpn", "rsip/1")
    assert host.register().type == rsip.REGISTER_OK


def test_rubbish_after_the_first_byte(guarded):
    guarded.start()
    for data in (b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16" + bytes(5000), b"\x16\xff" * 4000):
        with socket.create_connection(guarded.at) as s:
            s.settimeout(10)
            with contextlib.suppress(ConnectionError, OSError):
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
    wait_for(lambda: guarded.metric("rsip_connections") == 0, "all are closed")
    assert tunnel(guarded, "127.0.0.2", "alice", ALICE.secret).register().type == rsip.REGISTER_OK


def test_pieces_and_many_messages(guarded):
    """A message over several records, and far more messages than a turn takes in one."""
    guarded.start()
    host = tunnel(guarded, "127.0.0.2", "alice", ALICE.secret)
    host.register()
    query = rsip.message(rsip.QUERY, host.me())
    for at in range(0, len(query), 3):
        host.send(query[at:at + 3])
    assert host.receive().type == rsip.QUERY_OK
    host.send(query * 1500)
    assert all(host.receive().type == rsip.QUERY_OK for _ in range(1500))


def test_tls_without_a_requirement(guarded):
    guarded.configure(metrics=True, more=f"security {{ {guarded.more} }}").start()
    assert tunnel(guarded, "127.0.0.2", "alice", ALICE.secret).register().type == rsip.REGISTER_OK
    assert guarded.tcp("127.0.0.3").register().type == rsip.REGISTER_OK
    assert guarded.tcp("127.0.0.2").register().error == 304


# The first byte 0x16 without TLS is a version that nobody knows (P-A-106).
def test_where_there_are_no_keys(gateway):
    gateway.configure().start()
    host = gateway.tcp("127.0.0.2")
    host.send(b"\x16\x03\x01\x02")
    assert host.receive().error == 106
    assert host.receive() is None


# --- certificates ---

def certificate(folder, name, issuer=None, address=None):
    """name.pem and name.key, signed by issuer (a former result) or by itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    import ipaddress
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(subject)
        .issuer_name(issuer[1] if issuer else subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True))
    if address:
        builder = builder.add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(address))]), False)
    cert = builder.sign(issuer[0] if issuer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return key, subject


@pytest.fixture
def certified(gateway):
    folder = gateway.folder
    authority = certificate(folder, "authority")
    for name, address in (("gateway", "127.0.0.1"), ("carol", None)):
        certificate(folder, name, authority, address)
    stranger = certificate(folder, "stranger-authority")
    certificate(folder, "stranger", stranger)
    gateway.configure(metrics=True, more=f'''security {{ require = tls
        tls-certificate = "{folder}/gateway.pem"
        tls-key = "{folder}/gateway.key"
        tls-authority = "{folder}/authority.pem" }}''')
    return gateway.start()


def certified_tcp(gateway, addr, name):
    context = ssl.create_default_context(cafile=gateway.folder / "authority.pem")
    if name:
        context.load_cert_chain(gateway.folder / f"{name}.pem", gateway.folder / f"{name}.key")
    host = gateway.tcp(addr)
    host.sock = context.wrap_socket(host.sock, server_hostname="127.0.0.1")
    return host


def test_certificates_of_one_authority(certified):
    host = certified_tcp(certified, "127.0.0.2", "carol")
    assert host.register().type == rsip.REGISTER_OK
    assert host.assign(2).type == rsip.ASSIGN_RSAP_OK


@pytest.mark.parametrize("name", ["stranger", None])
def test_certificates_of_nobody(certified, name):
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        host = certified_tcp(certified, "127.0.0.2", name)
        host.register()
    wait_for(lambda: certified.metric('rsip_tls_handshakes_total{result="failed"}') == 1,
        "it is refused")


# --- configuration ---

@pytest.mark.parametrize("text,said", [
    ('require = "tls"', "needs key-file, or tls-certificate"),
    ('require = "hmac"', "needs key-file"),
    ('tls-key = "x"', "tls-key without tls-certificate"),
    ('require = "ssl"', "one of tls, hmac"),
    ('key-file = "/not/there"', "/not/there: cannot be read"),
])
def test_what_cannot_be(gateway, text, said):
    gateway.configure(more=f"security {{ {text} }}")
    from conftest import RSIPD
    p = subprocess.run([RSIPD, "--check", "-c", gateway.file], capture_output=True, text=True)
    assert p.returncode == 2 and said in p.stderr, p


def test_a_key_file_that_others_read(gateway):
    file = key_file(gateway.folder / "keys", ALICE)
    file.chmod(0o644)
    gateway.configure(more=f'security {{ key-file = "{file}" }}').start(expect_ready=False)
    assert gateway.process.wait(20) == 2
    assert "others may read it" in gateway.log.read_text()
