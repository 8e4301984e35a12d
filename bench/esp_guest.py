#!/usr/bin/python3
"""Inside the guest: x1 and y with ESP in tunnel mode by hand, on three ways; see esp."""
import json
import pathlib
import random
import select
import socket
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "ipsec"), str(ROOT / "tests" / "netns")]
import road_guest
from topo import HOSTS, NA, N_OWN, Y, Y2, Host, Lease, Net

X, Y3 = HOSTS["x1"], "198.51.100.4"
KEY = "aead rfc4106(gcm(aes)) 0x" + "5a" * 20 + " 128"
PACKETS, SIZE, WINDOW, PORT = 256, 1300, 32, 7400
UDP_ENCAP, ESPINUDP = 100, 2


def tunnel(net, number, spis, host, peer, natt_host=None):
    """SAs and policies for 10.0.0.11 <-> 192.168.NUMBER.1 between these outer addresses."""
    inner = f"192.168.{number}.1"
    for name, own in (("x1", host), ("y", natt_host or host)):
        for src, dst, spi in ((own, peer, spis[0]), (peer, own, spis[1])):
            encap = " encap espinudp 4500 4500 0.0.0.0" if natt_host else ""
            net.run(name, "sh", "-c", f"ip xfrm state add src {src} dst {dst} proto esp spi {spi} "
                f"reqid {spis[0]} mode tunnel {KEY.replace('(', chr(92) + '(').replace(')', chr(92) + ')')}"
                f"{encap}")
        for a, b, src, dst, out in ((X, inner, own, peer, "out"), (inner, X, peer, own, "in")):
            way = out if name == "x1" else {"out": "in", "in": "out"}[out]
            net.run(name, *f"ip xfrm policy add src {a} dst {b} dir {way} tmpl src {src} dst {dst} "
                f"proto esp reqid {spis[0]} mode tunnel".split())
    net.batch("y", f"addr add {inner}/32 dev lo")
    return inner


def encap_socket(net, name, address):
    """What takes ESP in UDP at its port."""
    with net.inside(name):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 4500))
    s.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, ESPINUDP)
    return s


def bound(net, name, address):
    with net.inside(name):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, PORT))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.setblocking(False)
    return s


def transfer(source, sink, to):
    """Mbit/s of PACKETS from one socket to the other; what is lost is sent again."""
    data, got, sent, start = bytes(SIZE), 0, 0, time.monotonic()
    while got < PACKETS:
        while sent < PACKETS and sent - got < WINDOW:
            source.sendto(data, to)
            sent += 1
        if not select.select([sink], [], [], 0.3)[0]:
            sent = got
            if time.monotonic() > start + 20:
                raise SystemExit(f"nothing arrives at {to}")
        while got < sent and select.select([sink], [], [], 0)[0]:
            sink.recv(2048)
            got += 1
    return PACKETS * SIZE * 8 / 1e6 / (time.monotonic() - start)


def main():
    with Net("/run/bench") as net:
        net.dir.mkdir(exist_ok=True)
        road_guest.links(net)
        net.batch("y", f"addr add {Y3}/24 dev eth0")
        text = Host(net, "x1").rsip("lease", "-g", NA, "--method", "rsipsec", "--ports", 4,
            "--spis", 16, "--tunnel", "ipip", "--json")
        lease = Lease([json.loads(text)])
        net.batch("x1", f"link add rsip0 type ipip local {X} remote {NA} ttl 64",
            f"addr add {lease.address}/32 dev rsip0", "link set rsip0 up",
            f"route add {Y}/32 dev rsip0 src {lease.address}",
            "route add 192.168.0.0/16 dev eth0 src " + X)
        inner = {
            "rsip": tunnel(net, 71, (0x1001, lease.spis[0][0]), lease.address, Y),
            "routed": tunnel(net, 72, (0x1002, 0x2002), X, Y2),
            "natt": tunnel(net, 73, (0x1003, 0x2003), X, Y3, N_OWN)}
        keep = [encap_socket(net, "x1", X), encap_socket(net, "y", Y3)]
        host = bound(net, "x1", X)
        peers = {kind: bound(net, "y", address) for kind, address in inner.items()}
        for kind in inner:  # the first packets find neighbours, and NAT learns its mapping
            transfer(host, peers[kind], (inner[kind], PORT))
        rounds = []
        for _ in range(int(sys.argv[1])):
            kinds = random.sample(list(inner), 3)
            rounds.append({kind: {"out": transfer(host, peers[kind], (inner[kind], PORT)),
                "in": transfer(peers[kind], host, (X, PORT))} for kind in kinds})
        (road_guest.OUT / "rounds.json").write_text(json.dumps(rounds))
        del keep
        Host(net, "x1").rsip("down")


if __name__ == "__main__":
    main()
