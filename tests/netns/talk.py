#!/usr/bin/python3
"""A service that says who it is and whom it saw, and its customers, over UDP and TCP.

    talk.py serve NAME PORT                     until it is ended
    talk.py ask udp|tcp ADDRESS PORT TEXT       what the service answers
"""
import contextlib
import socket
import sys
import threading

KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}


class Here:
    """In place of a topo.Net: the namespace one is in."""

    @staticmethod
    def inside(_):
        return contextlib.nullcontext()


class Service:
    """Answers each request with 'NAME saw ADDRESS PORT: TEXT' in a namespace until close()."""

    def __init__(self, net, name, port, address="0.0.0.0"):
        self.name, self.sockets = name, []
        for serve, kind in ((self.udp, "udp"), (self.tcp, "tcp")):
            with net.inside(name):
                s = socket.socket(socket.AF_INET, KINDS[kind])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            if kind == "tcp":
                s.listen(16)
            self.sockets.append(s)
            self.thread(self.until_closed, serve, s)

    @staticmethod
    def thread(function, *args):
        threading.Thread(target=function, args=args, daemon=True).start()

    @staticmethod
    def until_closed(serve, s):
        with contextlib.suppress(OSError):
            while serve(s):
                pass

    def answer(self, who, text):
        return f"{self.name} saw {who[0]} {who[1]}: ".encode() + text

    def udp(self, s):
        text, who = s.recvfrom(2048)
        return who and s.sendto(self.answer(who, text), who)

    def tcp(self, s):
        c, who = s.accept()
        self.thread(self.until_closed, lambda c: self.request(c, who), c)
        return True

    def request(self, c, who):
        text = c.recv(2048)
        if text:
            c.sendall(self.answer(who, text))
        else:
            c.close()
        return text

    def close(self):
        for s in self.sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


def connect(net, name, kind, address, port, source=("", 0), seconds=10):
    """A socket of a namespace, connected."""
    with net.inside(name):
        s = socket.socket(socket.AF_INET, KINDS[kind])
    s.settimeout(seconds)
    try:
        s.bind(source)
        s.connect((address, port))
    except OSError:
        s.close()
        raise
    return s


def request(s, text):
    """The service's answer over a connected socket."""
    s.sendall(text.encode())
    return s.recv(2048).decode()


def ask(net, name, kind, address, port, text, source=("", 0), seconds=10):
    """(own address and port, answer), or OSError."""
    with connect(net, name, kind, address, port, source, seconds) as s:
        return s.getsockname(), request(s, text)


def main(words):
    if words[:1] == ["serve"]:
        Service(Here, words[1], int(words[2]))
        threading.Event().wait()
    elif words[:1] == ["ask"]:
        own, answer = ask(Here, None, words[1], words[2], int(words[3]), words[4])
        print(f"from {own[0]} {own[1]}: {answer}")
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
