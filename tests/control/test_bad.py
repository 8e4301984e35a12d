"""Bad input over the network: the answers of the catalogue, and a gateway that goes on.

tests/vectors.json gives each message with the state it meets and the answer; its Client ID 7
and Bind ID 21 stand for the ones that the gateway gave us.
"""
import json
import random
import re
import struct

import pytest

import rsip
from conftest import ROOT

VECTORS = [v for v in json.loads((ROOT / "tests" / "vectors.json").read_text())
    if v["kind"] == "malformed"]
METHOD_OF = {6: '"rsap-ip", "rsipsec"', 22: '"rsap-ip", "rsa-ip"'}


def policy_of(state):
    """The policy section that brings the gateway into the state, None for a state it lacks."""
    text = state.get("policy") or "local macro, remote none"
    m = re.fullmatch(r"local (macro|micro), remote (none|macro|micro)(, ipsec denied)?", text)
    keys = [f'local-flow = "{m[1]}"', f'remote-flow = "{m[2]}"']
    for kind in state["disabled_types"]:
        keys.append("listen = false" if kind == 16 else f"methods = {{ {METHOD_OF[kind]} }}")
    if m[3]:
        keys.append('methods = { "rsap-ip" }')
    return "\n".join(keys)


def named(data, client, bind):
    """The bytes with our own IDs instead of 7 and 21."""
    for kind, old, new in ((rsip.CLIENT_ID, 7, client), (rsip.BIND_ID, 21, bind)):
        data = data.replace(rsip.u32(kind, old), rsip.u32(kind, new))
    return data


def prepare(gateway, v):
    state = v["state"]
    gateway.configure('transports = { "tcp" }' if state["tcp_only"] else "",
        pool='dedicated = { "203.0.113.9" }', policy=policy_of(state),
        more='policy other { match = { "10.9.9.9" } }' if state.get("policy", "").endswith("denied")
        else "", addresses="198.51.100.7").start()
    make = gateway.tcp if v["transport"] == "tcp" else gateway.udp
    host, client, bind = make("127.0.0.2"), 7, 21
    if state["registered"]:
        client = host.register().client
        if "micro" in state.get("policy", "") or "remote macro" in state.get("policy", ""):
            bind = host.call(rsip.ASSIGN_RSAP, host.me(), rsip.address(), rsip.ports(1),
                rsip.address("192.0.2.9"), rsip.ports(1, 80)).bind
        else:
            bind = host.assign().bind
    for text in state.get("spis_in_use", []):
        other = make("127.0.0.3")
        other.register()
        grant = other.call(rsip.ASSIGN_IPSEC, other.me(), rsip.address(), rsip.no_ports(),
            rsip.address(), rsip.ports(1), rsip.spis(1, int(text.split()[1], 16)))
        assert grant.type == rsip.ASSIGN_IPSEC_OK
    return host, client, bind


@pytest.mark.parametrize("v", VECTORS, ids=[v["name"] for v in VECTORS])
def test_malformed_vector(gateway, v):
    host, client, bind = prepare(gateway, v)
    before = gateway.json("show", "bindings")
    host.send(named(bytes.fromhex(v["hex"]), client, bind))
    expect = v["expect"]
    if expect["action"] == "error_response":
        answer = host.receive()
        assert answer.bytes == named(bytes.fromhex(expect["response_hex"]), client, bind)
        assert answer.error == expect["error"]
    else:
        assert host.silent()
    # No state change, and the gateway serves on.
    after = gateway.json("show", "bindings")
    for b in before + after:
        b.pop("lease_remaining")
    assert after == before
    assert gateway.process.poll() is None


# P-9.1-05: noise never brings the gateway down, and a lease survives it.
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_messages_change_nothing(running, seed):
    rng = random.Random(seed)
    keeper = running.udp("127.0.0.2")
    keeper.register()
    grant = keeper.assign(8)
    noise = running.udp("127.0.0.3")
    seeds = [bytes.fromhex(v["hex"]) for v in VECTORS]
    for _ in range(2000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3 and len(data) >= 4:
            data[2:4] = struct.pack("!H", len(data))
        noise.send(bytes(data[:rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data))
    assert keeper.extend(grant.bind).type == rsip.EXTEND_OK
    mine = [b for b in running.json("show", "bindings") if b["host"] == "127.0.0.2"]
    assert [b["bind_id"] for b in mine] == [grant.bind]


@pytest.mark.parametrize("seed", [1, 2])
def test_random_streams_over_tcp(running, seed):
    rng = random.Random(seed)
    seeds = [bytes.fromhex(v["hex"]) for v in VECTORS]
    for _ in range(60):
        host = running.tcp("127.0.0.3")
        try:
            for _ in range(rng.randrange(1, 20)):
                host.send(rng.choice(seeds)[:rng.randrange(1, 60)])
        except OSError:
            pass  # closed as it should be
        host.close()
    assert running.tcp("127.0.0.4").register().type == rsip.REGISTER_OK
