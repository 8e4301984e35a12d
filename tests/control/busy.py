"""Hosts that keep a gateway busy and remember what they were promised."""
import random
import threading

import rsip


class Busy(threading.Thread):
    """A host that leases and frees without pause, and remembers what it was promised."""

    def __init__(self, gateway, addr, seed):
        super().__init__()
        self.host = gateway.udp(addr)
        self.rng = random.Random(seed)
        self.held, self.freed, self.unsure = {}, set(), set()
        self.stopping = False
        self.failed = None  # an answer that should not have been

    def request(self, kind, *params):
        """The answer, or None when the gateway is gone: then nobody knows what it did."""
        data = self.host.build(kind, *params)
        for _ in range(20):
            self.host.send(data)
            try:
                answer = self.host.receive(0.1)
                while answer.counter != self.host.counter:
                    answer = self.host.receive(0.1)
                return answer
            except (rsip.Timeout, OSError):
                if self.stopping:
                    return None
        return None

    def run(self):
        try:
            self.work()
        except AssertionError as e:
            self.failed = e

    def work(self):
        host = self.host
        while not self.stopping:
            if self.held and self.rng.random() < 0.45:
                bind = self.rng.choice(sorted(self.held))
                self.unsure.add(bind)
                answer = self.request(rsip.FREE, host.me(), rsip.u32(rsip.BIND_ID, bind))
                if answer is not None:
                    assert answer.type == rsip.FREE_OK, answer
                    self.unsure.discard(bind)
                    self.held.pop(bind)
                    self.freed.add(bind)
            elif len(self.held) < 20:
                answer = self.request(rsip.ASSIGN_RSAP, host.me(), rsip.address(),
                    rsip.ports(self.rng.randrange(1, 9)), rsip.address(), rsip.ports(1))
                if answer is not None:
                    assert answer.type == rsip.ASSIGN_RSAP_OK, answer
                    self.held[answer.bind] = answer.local_ports()
