"""`rsip top`, and the numbers of each host behind it."""
import json
import subprocess

from conftest import RSIP
from test_control import raw


def test_numbers_of_a_host(running):
    host = running.udp("127.0.0.2")
    host.register()
    host.assign(8)
    host.assign_ipsec(4, 16)
    host.free(7)
    answer, = raw(running, {"method": "org.rsipsec.gateway.ListClients", "parameters": {"details": True}})
    client, = answer["parameters"]["clients"]
    assert (client["bindings"], client["ports"], client["spis"]) == (2, 12, 16)
    assert (client["requests"], client["refused"], client["misused"]) == (4, 1, 0)


def test_top(running):
    """The busiest first, with its rates, as lines and as JSON."""
    busy, quiet = running.tcp("127.0.0.2", counters=True), running.udp("127.0.0.3")
    for host in (busy, quiet):
        host.register()
    for _ in range(3):
        quiet.assign(2)
    top = [subprocess.Popen([RSIP, "top", "-n", "1", "-d", "1", *more, "--socket", running.socket],
        stdout=subprocess.PIPE, text=True) for more in ((), ("--json",))]
    sent = 0
    while any(p.poll() is None for p in top):
        assert busy.free(7).error == 306
        sent += 1
    text, shown = (p.communicate()[0] for p in top)
    assert [p.returncode for p in top] == [0, 0]
    lines = text.splitlines()
    assert "2 hosts" in lines[0] and lines[2] == "drops: none"
    rows = [line.split() for line in lines[4:]]
    assert [r[0] for r in rows] == ["127.0.0.2", "127.0.0.3"] and rows[1][1] == "3"
    assert float(rows[0][4]) > 0 and float(rows[0][5]) > 0 and float(rows[1][4]) == 0
    first, second = json.loads(shown)["hosts"]
    assert (first["host"], second["host"]) == ("127.0.0.2", "127.0.0.3")
    assert first["requests_per_s"] > 1 and first["refused_per_s"] <= first["requests_per_s"]
    assert second["requests_per_s"] == 0 and sent > 1


def test_top_without_a_gateway(gateway):
    p = subprocess.run([RSIP, "top", "-n", "1", "--socket", gateway.socket], capture_output=True)
    assert p.returncode == 3
    assert subprocess.run([RSIP, "top", "-d", "0"], capture_output=True).returncode == 2
