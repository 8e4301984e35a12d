"""The operator's guide: every command in it, on the network that it speaks of."""
import os
import pathlib
import re
import subprocess

import pytest
import topo
from topo import BUILD, ROOT, Net, road

WHY_NOT = topo.why_not()
if WHY_NOT:
    pytest.skip(WHY_NOT, allow_module_level=True)

BLOCK = re.compile(r"^```(conf|gateway|host)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
# What the guide writes to, as a fresh machine has it.
PRIVATE = """
for d in /etc/rsip /run/rsip /var/lib/rsip; do mkdir -p $d && mount -t tmpfs none $d; done
echo ready
exec cat
"""


class Machine:
    """These directories and processes are of this test only."""

    def __init__(self, net):
        self.net = net
        self.holder = subprocess.Popen(["unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-ec", PRIVATE], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == "ready\n"
        # unshare's child is the one inside.
        self.pid = pathlib.Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children") \
            .read_text().split()[0]
        self.enter = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", f"--pid=/proc/{self.pid}/ns/pid"]

    def run(self, name, command):
        path = f"{BUILD / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return self.net.run(name, *self.enter, "sh", "-c",
            f"{{ {command}\n}} 2>&1\necho status $?", env={**os.environ, "PATH": path}, check=False, timeout=60).stdout

    def write(self, path, text):
        subprocess.run([*self.enter, "sh", "-c", f"cat >{path}"], input=text, text=True, check=True)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(10)
        self.holder.stdout.close()


def steps(text):
    """(where, command, what it must print) of a block."""
    command, wanted = None, []
    for line in text.splitlines():
        if line.startswith("# "):
            if command:
                yield command, wanted
            command, wanted = line[2:], []
        elif line:
            wanted.append(line)
    if command:
        yield command, wanted


def test_every_command(tmp_path):
    guide = (ROOT / "docs" / "guide.md").read_text()
    blocks = BLOCK.findall(guide)
    assert guide.count("```") == 2 * len(blocks), "every block says where it belongs"
    with Net(tmp_path / "net") as net:
        net.dir.mkdir()
        road(net)
        machine = Machine(net)
        try:
            for kind, where, text in blocks:
                if kind == "conf":
                    machine.write(where, text)
                    continue
                for command, wanted in steps(text):
                    done = machine.run("n" if kind == "gateway" else where, command)
                    assert done.rstrip().endswith("status 0"), f"{command}\n{done}"
                    for line in wanted:
                        assert line in done, f"{command}: no \"{line}\" in\n{done}"
        finally:
            machine.close()


def test_files_that_it_names_are_there():
    guide = (ROOT / "docs" / "guide.md").read_text()
    for name in re.findall(r"\]\(([^)#:]+)\)", guide):
        assert (ROOT / "docs" / name).exists(), name
