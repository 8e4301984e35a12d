"""What `demo/run --keep` leaves running: how to look around in it, and its end."""
import json
import os
import pathlib

from topo import BUILD, ROOT, Y, Net

FOLDER = pathlib.Path("/run/rsip-demo")

HELP = """
The demo's network is still running.  Try, as root:

  on host x1     ip netns exec {x1} {rsip} status
                 ip netns exec {x1} {talk} ask tcp {y} 7777 hello
  on host x2     ip netns exec {x2} bash
  the gateway    {rsip} gateway show bindings --socket {socket}
                 {rsip} gateway show counters --socket {socket}
  the wire       ip netns exec {r} tcpdump -n -i y0
  the log        less {dir}/rsipd.log

End it with      sudo demo/run --stop
"""


def leave(net, stage):
    """Remember the network for --stop, and say how to use it."""
    talk = ROOT / "tests" / "netns" / "talk.py"
    stage.end()
    net.start("y", talk, "serve", "y", "7777", log="talk.log")
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    state = {"prefix": net.prefix, "names": net.names, "dir": str(net.dir)}
    (FOLDER / f"{os.getpid()}.json").write_text(json.dumps(state))
    print(HELP.format(rsip=BUILD / "bin" / "rsip", talk=talk, y=Y, dir=net.dir,
        socket=net.dir / "rsipd.sock", x1=net.ns("x1"), x2=net.ns("x2"), r=net.ns("r")))


def stop():
    found = sorted(FOLDER.glob("*.json"))
    if not found:
        print("demo: nothing is running")
    for path in found:
        state = json.loads(path.read_text())
        net = Net(state["dir"])
        net.prefix, net.names = state["prefix"], state["names"]
        net.close()
        path.unlink()
        print(f"demo: ended {net.prefix}*")
    return 0
