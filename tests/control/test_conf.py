"""The configuration file: what is taken, and FILE:LINE of what is not."""
import re
import subprocess

import pytest

from conftest import ROOT, RSIPD

# The file of the documentation: every key with its default.
SAMPLE = """
gateway {
    listen           = { "0.0.0.0:4555" }      # * e.g. 10.0.0.1:4555; both transports
    transports       = { "tcp", "udp" }
    tunnel-endpoint  = ""                      # * "" = the listen address
    local-networks   = {}                      # * e.g. { "10.0.0.0/24" }
    state-dir        = "/var/lib/rsip"         # leases.mdb
    control-socket   = "/run/rsip/rsipd.sock"
    registration-lease = 3600                  # seconds
}
dataplane {
    driver            = "auto"                 # auto | xdp | packet | none
    private-interface = ""                     # * the side of the hosts
    public-interface  = ""                     # * the side of the peers
}
pool public {                                  # one section per pool
    addresses = { "203.0.113.1" }              # * shared addresses; prefixes allowed
    dedicated = {}                             # whole addresses for RSA-IP
    ports     = { "1024-65535" }
    spis      = { "256-4294967295" }
    hold-down = 120                            # seconds a released tuple rests
}
policy default {                               # first section whose match applies
    match        = { "0.0.0.0/0" }
    methods      = { "rsap-ip", "rsa-ip", "rsipsec" }
    tunnels      = { "ipip", "gre" }
    local-flow   = "macro"                     # macro | micro
    remote-flow  = "none"                      # none | macro | micro
    lease-default = 3600
    lease-max     = 86400
    max-bindings  = 64
    max-ports     = 1024
    max-spis      = 65536
    remote-allow  = {}                         # empty = all
    remote-deny   = {}
    listen        = true
}
metrics { listen = "" }                        # * e.g. "127.0.0.1:9455"
"""


def check(folder, text):
    """Status and stderr of `rsipd --check`; nothing may come on stdout."""
    file = folder / "rsipd.conf"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    p = subprocess.run([RSIPD, "--check", "-c", file], capture_output=True, text=True, timeout=30)
    assert p.stdout == ""
    return p.returncode, p.stderr.replace(str(file), "FILE").strip()


def test_the_sample_is_taken(tmp_path):
    assert check(tmp_path, SAMPLE) == (0, "")


def test_any_line_may_be_left_out(tmp_path):
    lines = SAMPLE.splitlines()
    for i, line in enumerate(lines):
        if "=" in line and "{ listen" not in line:
            text = "\n".join(lines[:i] + lines[i + 1:])
            assert check(tmp_path, text) == (0, ""), line


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "gateway {}", "pool x {}", "metrics { }",
    "policy a { match = { 10.0.0.0/8 } } policy b { }",
    'pool a { addresses = { "203.0.113.0/28", 198.51.100.1 } dedicated = { "203.0.113.16/28" } }',
    'pool a { ports = { "1-499", 600-700 } spis = { "0x1000-0x1fff", 70000 } hold-down = 0 }',
    'policy a { remote-allow = { "192.0.2.0/24:80-443", "192.0.2.1:22", 198.51.100.0/24 } }',
    'dataplane { napt = { "10.0.0.0/24", "10.1.0.0/16" } napt-address = "203.0.113.1" }\n'
    'pool a { addresses = { "203.0.113.1" } ports = { "1024-32767" } }',
    'dataplane { napt = { "10.0.0.0/24" } napt-ports = "61000-61999" }',
    'policy a { listen = false }', "policy a { lease-max = 5 }", "gateway { tcp-connections = 3 }", "gateway { tcp-idle = 60 }", "/* a\nb */ gateway { } // c",
    'gateway { listen = { "10.0.0.1:4555", # one\n "10.0.0.2:4555" /* two */ } }',
    'gateway { tunnel-endpoint = "10.0.0.9" }', 'metrics { listen = "127.0.0.1:9455" }'])
def test_good(tmp_path, text):
    assert check(tmp_path, text) == (0, "")


BAD = [
    # text, line, what the message has
    ("gateway {\n foo = 1\n}", 2, "no such option 'foo'; it knows listen, transports"),
    ("\n\nbar { }", 3, "no such option 'bar'; it knows gateway"),
    ("gateway {\n # comment\n # comment\n foo = 1\n}", 4, "foo"),
    ("/* one\ntwo */\ngateway { foo = 1 }", 3, "foo"),
    ("gateway {\n listen = {\n \"10.0.0.1:4555\",\n \"nonsense\" } }", 4, 'listen = "nonsense"'),
    ('gateway { listen = { "10.0.0.1" } }', 1, "ADDRESS:PORT"),
    ('gateway { listen = { "10.0.0.1:0" } }', 1, "ADDRESS:PORT"),
    ('gateway { listen = { "10.0.0.1:65536" } }', 1, "ADDRESS:PORT"),
    ("gateway { listen = {} }", 1, "empty"),
    ('gateway { listen = { "0.0.0.0:4555",\n "10.0.0.1:4555" } }', 2, "both"),
    ("gateway { transports = {} }", 1, "empty"),
    ('gateway { transports = { "sctp" } }', 1, "one of tcp, udp"),
    ('gateway { tunnel-endpoint = "a.example" }', 1, "IPv4 address"),
    ('gateway { local-networks = { "10.0.0.1/24" } }', 1, "10.0.0.0/24 is the network"),
    ('gateway { local-networks = { "10.0.0.0/33" } }', 1, "local-networks"),
    ("gateway { registration-lease = 0 }", 1, "from 1 to"),
    ("gateway { registration-lease = 99999999999 }", 1, "from 1 to"),
    ("gateway { registration-lease = 12x }", 1, "a number"),
    ("gateway { registration-lease = -5 }", 1, "a number"),
    ('gateway { state-dir = "" }', 1, "state-dir is empty"),
    (f'gateway {{ control-socket = "/{"x" * 120}" }}', 1, "at most"),
    ("gateway { tcp-connections = 2\n tcp-connections-per-host = 3 }", 2, "more than"),
    ("gateway {\n listen = { 10.0.0.1:4555 }\n listen = { 10.0.0.2:4555 }\n}", 2, "again"),
    ('dataplane { driver = "ebpf" }', 1, "one of auto, xdp, packet, none"),
    ('dataplane { private-interface = "averyverylongname" }', 1, "not a name"),
    ('dataplane { private-interface = "a/b" }', 1, "not a name"),
    ('dataplane { private-interface = "lan0"\n public-interface = "lan0" }', 2, "differ"),
    ('dataplane {\n napt = { "10.0.0.1/24" } }', 2, "10.0.0.0/24 is the network"),
    ('dataplane {\n driver = "none"\n napt = { "10.0.0.0/24" } }', 3, "carries no packets"),
    ('dataplane {\n napt = { "10.0.0.0/24",\n "10.0.0.0/8" } }', 3, "overlap"),
    ('dataplane {\n napt = { "10.0.0.0/24" }\n napt-ports = "4000-5000" }', 2, "port 4500"),
    ('dataplane { napt-ports = "0-10" }', 1, "from 1 to 65535"),
    ('dataplane { napt-address = "many" }', 1, "IPv4 address"),
    ('dataplane { napt = { "10.0.0.0/24" } napt-address = "203.0.113.1" }\n'
        'pool a { addresses = { "203.0.113.0/28" }\n ports = { "1024-40000" } }', 3,
        "port 32768 of 203.0.113.1"),
    ('dataplane { napt = { "10.0.0.0/24" }\n napt-address = "203.0.113.1" }\n'
        'pool a { dedicated = { "203.0.113.0/28" } }', 2, "leased whole"),
    ("pool { }", 1, "title"),
    ("pool a { }\npool a { }", 2, "duplicate"),
    ('pool a { addresses = { "203.0.113.1/24" } }', 1, "203.0.113.0/24"),
    ('pool a { addresses = { "203.0.113.0/24" } }\npool b {\n addresses = { "203.0.113.7" } }', 3,
        "pool a"),
    ('pool a { addresses = { "203.0.113.1" }\n dedicated = { "203.0.113.1" } }', 2, "addresses"),
    ('pool a { addresses = { "224.0.0.1" } }', 1, "224.0.0.1"),
    ('pool a { addresses = { "0.0.0.0/0" } }', 1, "0.0.0.0/0"),
    ('pool a { addresses = { "10.0.0.0/8" } }', 1, "65536"),
    ('pool a { ports = { "0-100" } }', 1, "from 1 to 65535"),
    ('pool a { ports = { "2000-1000" } }', 1, "ports"),
    ('pool a { ports = { "70000" } }', 1, "from 1 to 65535"),
    ('pool a { ports = { "500", "4500" } }', 1, "nothing is left"),
    ('pool a { spis = { "255" } }', 1, "from 256 to"),
    ('pool a { spis = { "0x1-0x1000" } }', 1, "from 256 to"),
    ("pool a { hold-down = 100000 }", 1, "from 0 to 86400"),
    ("policy a { match = {} }", 1, "empty"),
    ("policy a { methods = {} }", 1, "empty"),
    ("policy a { tunnels = {} }", 1, "empty"),
    ('policy a { methods = { "nat" } }', 1, "one of rsa-ip, rsap-ip, rsipsec"),
    ('policy a { tunnels = { "l2tp" } }', 1, "one of ipip, gre"),
    ('policy a { local-flow = "none" }', 1, "one of macro, micro"),
    ('policy a { remote-flow = "some" }', 1, "one of none, macro, micro"),
    ("policy a {\n lease-default = 100\n lease-max = 50 }", 2, "more than its lease-max (50)"),
    ('policy a { remote-allow = { "192.0.2.0/24:0" } }', 1, "PORT"),
    ('policy a { remote-deny = { "192.0.2.1/24" } }', 1, "remote-deny"),
    ("policy a { listen = maybe }", 1, "true or false"),
    ('metrics { listen = "9455" }', 1, "ADDRESS:PORT"),
    ("gateway {\n state-dir = \"/x\"\n", 1, "no closing brace"),
    ('gateway { state-dir = "/x\n}', 1, "has no end"),
    ("gateway { } /* never closed", 1, "has no end"),
    ("gateway { } }", 1, "closing brace"),
    ("gateway", 1, ""),
    ("gateway { listen }", 1, ""),
    ('gateway { listen = { "10.0.0.1:1" "10.0.0.2:1" } }', 1, "unexpected token"),
    ('gateway {\n state-dir = "/x" "" }', 2, "something else"),
    ('include("/etc/passwd")', 1, "include"),
]


@pytest.mark.parametrize("text,line,what", BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad(tmp_path, text, line, what):
    status, message = check(tmp_path, text)
    assert status == 2
    assert message.startswith(f"FILE:{line}: ") and what in message, message
    assert "\n" not in message


def test_no_file_and_odd_files(tmp_path):
    for file in (tmp_path / "missing", tmp_path, "/dev/zero"):
        p = subprocess.run([RSIPD, "--check", "-c", file], capture_output=True, text=True, timeout=30)
        assert p.returncode == 2 and str(file) in p.stderr
    assert check(tmp_path, b"gateway {\0}") == (2, "FILE: not a text file: it has a zero byte")
    assert check(tmp_path, b"\xff\xfe\x80 {")[0] == 2


# A file cut anywhere is refused or means the same as its whole sections.
def test_a_file_cut_anywhere(tmp_path):
    for n in range(0, len(SAMPLE), 7):
        status, message = check(tmp_path, SAMPLE[:n])
        assert status in (0, 2) and (status == 0) == (message == "")
        if status == 0:
            assert SAMPLE[:n].count("{") == SAMPLE[:n].count("}") or SAMPLE[:n].count("#")


def test_the_examples_of_the_manuals_are_taken(tmp_path):
    for page in ("rsipd.8", "rsipd.conf.5"):
        text = (ROOT / "man" / page).read_text()
        examples = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)
        taken = [e for e in examples if "gateway" in e and "{" in e]
        assert taken, page
        for example in taken:
            assert check(tmp_path, example) == (0, "")


def test_command_line():
    def run(*args):
        p = subprocess.run([RSIPD, *args], capture_output=True, text=True, timeout=30)
        return p.returncode, p.stdout, p.stderr
    status, out, err = run("--help")
    assert status == 0 and "Usage" in out and err == ""
    status, out, err = run("--version")
    assert status == 0 and out.startswith("rsipd ") and err == ""
    for args in ([], ["-c"], ["--nonsense"], ["-c", "x", "more"], ["-f"]):
        status, out, err = run(*args)
        assert (status, out) == (2, "") and "rsipd" in err, args
