"""Connections for strongSwan at both ends, one for each way to do IPsec.

The peer finds a connection by identities and a child by selectors, so each variant has
identities, and the peer's network or port, of its own; all can be up at once.
"""
import cells
import swan
from topo import Y, Y2

CONNECTION = """
    {name} {{
        version = {version}
        mobike = no
        aggressive = {aggressive}
        encap = {encap}
        local_addrs = {local}
        {remote}
        proposals = {ike_proposal}
        {ike_times}
        local {{
            auth = psk
            id = {local_id}
        }}
        remote {{
            auth = psk
            id = {remote_id}
        }}
        children {{
            {name} {{
                mode = {mode}
                local_ts = {local_ts}
                remote_ts = {remote_ts}
                {proposal}
                {times}
            }}
        }}
    }}
"""
SHORT = {"IKEv2": "v2", "IKEv1 main": "main", "IKEv1 aggressive": "aggr"}


class Variant:
    """One way; number makes its network and port.  natt: the peer insists on UDP 4500."""

    def __init__(self, number, ike, protocol, mode, natt=False):
        self.number, self.ike, self.protocol, self.mode = number, ike, protocol, mode
        self.natt = natt
        self.hosts = "10.0.0.0/24"  # what hosts have in their tunnels
        self.name = f"{SHORT[ike]}-{protocol.lower()}-{mode}{'-natt' if natt else ''}"
        # The peer's setting for UDP is chosen by address, before it knows identities.
        self.peer = Y2 if natt else Y
        self.inner = f"192.168.{number}.1"  # what the peer has in its tunnels
        self.port = 7100 + number           # what it serves under transport mode

    @property
    def words(self):
        return f"{self.ike}, {self.protocol} {self.mode} mode" + \
            (", UDP 4500" if self.natt else "")

    def local_port(self, lease):
        return lease.ports[0][0] + 8 + self.number

    def service(self):
        """Where the peer answers."""
        if self.mode == "tunnel":
            return self.inner, swan.SERVICE
        return self.peer, self.port

    def proposals(self):
        two = self.ike == "IKEv2"
        child = {"ESP": "esp_proposals = aes128gcm16", "AH": "ah_proposals = sha256"}
        return {"version": 2 if two else 1, "aggressive": "yes" if "aggr" in self.ike else "no",
            "ike_proposal": "aes128-sha256-x25519" if two else "aes128-sha256-ecp256",
            "proposal": child[self.protocol], "ike_times": "", "times": ""}

    def host(self, name, private, lease):
        if self.mode == "tunnel":
            ts = {"local_ts": private, "remote_ts": self.inner}
        else:
            ts = {"local_ts": f"dynamic[udp/{self.local_port(lease)}]",
                "remote_ts": f"dynamic[udp/{self.port}]"}
        return CONNECTION.format(name=self.name, encap="no", local=lease.address,
            remote=f"remote_addrs = {self.peer}", mode=self.mode,
            local_id=f"{name}.{self.name}.test", remote_id=f"y.{self.name}.test",
            **ts, **self.proposals())

    def at_peer(self):
        if self.mode == "tunnel":
            ts = {"local_ts": self.inner, "remote_ts": self.hosts}
        else:
            ts = {"local_ts": f"dynamic[udp/{self.port}]", "remote_ts": "dynamic[udp]"}
        return CONNECTION.format(name=self.name, encap="yes" if self.natt else "no",
            local=self.peer, remote="", mode=self.mode, local_id=f"y.{self.name}.test",
            remote_id=f"*.{self.name}.test", **ts, **self.proposals())

    def cell(self, demux, tunnel):
        return cells.Cell(cells.STRONGSWAN, cells.STRONGSWAN, self.ike, self.protocol, self.mode,
            demux, tunnel)


class Hasty(Variant):
    """Keys anew every second or two, phase 1 every few, at whichever end comes first."""

    def proposals(self):
        return dict(super().proposals(),
            ike_times="rekey_time = 5s\n        rand_time = 2s\n        over_time = 60s",
            times="rekey_time = 3s\n                rand_time = 2s\n"
                "                life_time = 60s")


class Clash(Variant):
    """Transport mode from a port that nobody leased, and that both hosts take."""

    def __init__(self, number):
        super().__init__(number, "IKEv2", "ESP", "transport")
        self.name = "clash"

    def local_port(self, _):
        return 999


def every():
    """All that two strongSwans can do; UDP encapsulation knows no AH (RFC 3948)."""
    ways = [(ike, protocol, mode, natt) for natt in (False, True) for ike in cells.IKES
        for protocol in cells.PROTOCOLS for mode in cells.MODES if not (natt and protocol == "AH")]
    return [Variant(number, *way) for number, way in enumerate(ways, 1)]
