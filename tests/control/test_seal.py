"""UDP with seals: who is believed, who is a stranger, and what is of no use to whom."""
import rsip
from conftest import wait_for
from seal import CHALLENGE, Key, SealedUdp, Seal, key_file, seal

ALICE, BOB, MALLORY = Key("alice"), Key("bob"), Key("mallory")


def guarded(gateway, security="", hosts="", keys=(ALICE, BOB), **more):
    """Seals are required unless the test says otherwise."""
    file = key_file(gateway.folder / "keys", *keys)
    gateway.configure(metrics=True, more=f'security {{ key-file = "{file}" \n '
        f'{security or "require = hmac"} }}\n{hosts}', **more)
    return gateway


def sealed(gateway, addr, key=ALICE, **more):
    host = SealedUdp(gateway.at, addr, key, **more)
    gateway.hosts.append(host)
    return host


# F-3.3-03, F-3.3-04: authenticated by a shared key, each request and each answer.
def test_a_host_with_a_key_is_served(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    assert host.register().type == rsip.REGISTER_OK
    assert host.challenges == 1  # it had never heard of this gateway
    bind = host.assign(4).bind
    assert host.extend(bind).type == rsip.EXTEND_OK
    assert host.free(bind).type == rsip.FREE_OK
    assert host.challenges == 1
    # Every answer names the request that it is about.
    assert all(s.about for s in host.seen)
    assert gateway.metric('rsip_seals_total{verdict="good"}') == 4


# P-A-304, P-A-301: a plain host is told what it is told by any gateway that does not want it.
def test_plain_hosts_are_strangers(gateway):
    guarded(gateway).start()
    for host in (gateway.udp("127.0.0.3"), gateway.tcp("127.0.0.3")):
        assert host.register().error == 304
        host.client = 77
        answer = host.assign(1)
        assert (answer.error, answer.client) == (301, 77)
    assert gateway.json("show", "clients") == []
    assert gateway.metric("rsip_unproven_total") == 4


def test_without_a_requirement_both_are_served(gateway):
    guarded(gateway, "require = {}").start()
    assert sealed(gateway, "127.0.0.2").register().type == rsip.REGISTER_OK
    assert gateway.udp("127.0.0.3").register().type == rsip.REGISTER_OK


# A downgrade: the address alone does not do what the key did.
def test_a_sealed_session_is_not_continued_plain(gateway):
    guarded(gateway, "require = {}").start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    bind = host.assign(2).bind
    thief = gateway.udp("127.0.0.2")
    thief.client, thief.counter = host.client, 100
    assert thief.free(bind).error == 301
    assert thief.deregister().error == 301
    assert thief.register().error == 304
    assert [b["bind_id"] for b in gateway.json("show", "bindings")] == [bind]
    # Nor by another host's key.
    other = sealed(gateway, "127.0.0.2", BOB)
    other.client, other.counter = host.client, 200
    assert other.free(bind).error == 301
    assert host.free(bind).type == rsip.FREE_OK


def test_wrong_keys_and_changed_messages(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    probe = gateway.udp("127.0.0.2")
    good = seal(probe.build(rsip.REGISTER), ALICE, ALICE.to_gateway, "127.0.0.2", "127.0.0.1",
        host.number + 50, host.epoch)
    changed = [
        seal(probe.build(rsip.REGISTER), MALLORY, MALLORY.to_gateway, "127.0.0.2", "127.0.0.1",
            host.number + 50, host.epoch),                          # a key of nobody
        seal(probe.build(rsip.REGISTER), ALICE, BOB.to_gateway, "127.0.0.2", "127.0.0.1",
            host.number + 50, host.epoch),                          # another's secret
        seal(probe.build(rsip.REGISTER), ALICE, ALICE.to_host, "127.0.0.2", "127.0.0.1",
            host.number + 50, host.epoch),                          # of the other direction
        seal(probe.build(rsip.REGISTER), ALICE, ALICE.to_gateway, "127.0.0.9", "127.0.0.1",
            host.number + 50, host.epoch),                          # another address
        good[:-1] + bytes([good[-1] ^ 1]),                          # its tag
        good[:9] + bytes([good[9] ^ 1]) + good[10:],                # its body
    ]
    for n, data in enumerate(changed):
        probe.send(data)
        assert probe.receive().error == 304, n
    # Cut short it is no message any more, or one without a seal.
    probe.send(good[:-1])
    assert probe.receive().error == 207
    probe.send(good[:2] + (len(good) - 16).to_bytes(2, "big") + good[4:-16])
    assert probe.receive().error == 207
    assert gateway.metric('rsip_seals_total{verdict="bad"}') == len(changed)
    # Two seals are none.
    twice = seal(good, ALICE, ALICE.to_gateway, "127.0.0.2", "127.0.0.1", host.number + 51,
        host.epoch)
    probe.send(twice)
    assert probe.receive().error == 304


# F-3.3-03: a counter against replay.
def test_what_was_sent_once_is_of_no_use_again(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    bind = host.assign(2).bind
    host.free(bind)
    recorded = list(host.sent)
    before = gateway.metric('rsip_requests_total{type="ASSIGN_REQUEST_RSAP_IP"}')
    for data in recorded:
        host.sock.sendto(data, gateway.at)
    wait_for(lambda: gateway.metric('rsip_seals_total{verdict="stale"}') == len(recorded) + 1,
        "all of them are seen as old")
    assert gateway.metric('rsip_requests_total{type="ASSIGN_REQUEST_RSAP_IP"}') == before
    assert gateway.json("show", "bindings") == []


def test_nor_after_a_restart(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    host.assign(2)
    recorded = host.sent[-1]
    gateway.kill()
    gateway.start()
    host.sock.sendto(recorded, gateway.at)
    data = rsip.Udp.receive(host)
    assert Seal(data.bytes, ALICE, "127.0.0.2", "127.0.0.1").subtype == CHALLENGE
    assert len(gateway.json("show", "bindings")) == 1
    # The registration is still alice's, and only hers.
    assert sealed(gateway, "127.0.0.2", BOB).register().error == 304
    assert host.assign(2).type == rsip.ASSIGN_RSAP_OK


def test_challenges_are_rationed(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    old = host.sent[0]
    for _ in range(200):
        host.sock.sendto(old, gateway.at)
    wait_for(lambda: gateway.metric('rsip_seals_total{verdict="stale"}') >= 201, "all have come")
    answers = 0
    while not host.silent(0.05):
        rsip.Udp.receive(host)
        answers += 1
    assert 1 <= answers <= 20, answers


def test_a_host_that_lost_its_memory(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2", number=10**15)
    host.register()
    # Its clock went back as well: its numbers are of the past.
    again = sealed(gateway, "127.0.0.2", number=5)
    assert again.register().error == 302
    assert again.challenges <= 2


# Unasked messages are sealed, too, and about nothing.
def test_unasked_messages(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    bind = host.assign(2).bind
    gateway.cli("release", str(bind))
    assert host.receive().type == rsip.FREE_OK
    assert host.seen[-1].about == 0 and host.seen[-1].number > host.seen[-2].number


def test_a_host_section_says_who(gateway):
    guarded(gateway, "require = {}",
        'host one { address = "127.0.0.2" \n identities = { "alice" } }').start()
    assert gateway.udp("127.0.0.2").register().error == 304
    assert sealed(gateway, "127.0.0.2", BOB).register().error == 304
    assert sealed(gateway, "127.0.0.2", ALICE).register().type == rsip.REGISTER_OK
    # And alice is there and nowhere else; others are as before.
    assert sealed(gateway, "127.0.0.4", ALICE).register().error == 304
    assert sealed(gateway, "127.0.0.5", BOB).register().type == rsip.REGISTER_OK
    assert gateway.udp("127.0.0.6").register().type == rsip.REGISTER_OK


def test_keys_are_changed_by_a_reload(gateway):
    guarded(gateway).start()
    host = sealed(gateway, "127.0.0.2")
    host.register()
    fresh = Key("alice")
    key_file(gateway.folder / "keys", ALICE, fresh, BOB)
    assert "taken" in gateway.reload()
    assert host.assign(1).type == rsip.ASSIGN_RSAP_OK
    host.key = fresh
    assert host.assign(1).type == rsip.ASSIGN_RSAP_OK  # still the same registration
    key_file(gateway.folder / "keys", fresh, BOB)
    assert "taken" in gateway.reload()
    assert host.assign(1).type == rsip.ASSIGN_RSAP_OK
    host.key = ALICE
    host.send(host.build(rsip.QUERY, host.me()))
    assert rsip.Udp.receive(host).error == 301
    # A file that cannot be changes nothing.
    (gateway.folder / "keys").write_text("alice x\n")
    said = gateway.reload()
    assert "nothing changed" in said and "keys:1: expected NAME and a key" in said
    host.key = fresh
    assert host.assign(1).type == rsip.ASSIGN_RSAP_OK


def test_request_rate(gateway):
    gateway.configure(metrics=True,
        policy="request-rate = 5 \n request-burst = 10").start()
    host, other = gateway.udp("127.0.0.2"), gateway.udp("127.0.0.3")
    host.register(), other.register()
    for _ in range(200):
        host.send(host.build(rsip.QUERY, host.me()))
    wait_for(lambda: gateway.metric('rsip_dropped_requests_total{reason="busy"}') >= 180,
        "most are dropped")
    assert other.query().type == rsip.QUERY_OK
