"""Completion scripts, run by their shells."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RSIP = pathlib.Path(os.environ.get("RSIP_BUILD", ROOT / "build")) / "bin" / "rsip"

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _rsip
printf '%s\\n' "${COMPREPLY[@]}"
"""
# What the completion system would be handed.
ZSH = """
compadd() { shift; print -l -- $@ }
_files() { print -l -- *(D) }
_describe() { for w in ${(P)3}; do [[ $w == $words[CURRENT]* ]] && print -- ${w%%:*}; done; true }
script=$1; shift
words=("$@"); CURRENT=$#
source $script
"""


def script(shell, tmp_path):
    path = tmp_path / f"completion.{shell}"
    path.write_text(subprocess.check_output([RSIP, "completion", shell], text=True))
    return path


@pytest.fixture(params=["bash", "zsh"])
def complete(request, tmp_path):
    path = script(request.param, tmp_path)
    code, words = {"bash": (BASH, ["bash", "-c"]), "zsh": (ZSH, ["zsh", "-f", "-c"])}[request.param]

    def ask(*line):
        done = subprocess.run([*words, code, request.param, str(path), "rsip", *line], text=True,
            capture_output=True, cwd=tmp_path)
        assert done.stderr == "", done.stderr
        return set(done.stdout.split())

    return ask


def commands(*path):
    """The commands that --help lists."""
    text = subprocess.check_output([RSIP, *path, "--help"], text=True)
    listed = text.split("Commands (")[1].split("\nOptions:")[0].splitlines()[1:]
    return {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "}


def options(*path):
    text = subprocess.check_output([RSIP, *path, "--help"], text=True).split("\nOptions:")[1]
    return {w.rstrip(",") for line in text.splitlines() for w in line.split()[:2] if w.startswith("--")}


@pytest.mark.parametrize("path", [(), ("gateway",), ("gateway", "show"), ("ike",)])
def test_commands_of_each_level(complete, path):
    assert complete(*path, "") == commands(*path)


@pytest.mark.parametrize("path", [("up",), ("exec",), ("gateway", "whois"), ("down",)])
def test_options_of_a_command(complete, path):
    assert options(*path) <= complete(*path, "--")


def test_values(complete, tmp_path):
    assert {"tcp", "udp"} <= complete("up", "--transport", "")
    (tmp_path / "here.conf").touch()
    assert "here.conf" in complete("up", "-c", "")
    assert complete("gateway", "whois", "--port", "") == set()


def test_another_shell_is_refused():
    done = subprocess.run([RSIP, "completion", "fish"], capture_output=True, text=True)
    assert done.returncode == 2 and "bash or zsh" in done.stderr


def rows():
    """The tables of rsip: (place, word)."""
    text = subprocess.check_output([RSIP, "completion", "bash"], text=True)
    table = text.split("_rsip_table='\n")[1].split("\n'\n")[0]
    return [line.split("\t")[:2] for line in table.splitlines()]


def test_manual_page_names_every_verb_and_option():
    page = (ROOT / "man" / "rsip.1").read_text().replace("\\-", "-")
    items = [line for line in page.splitlines() if line.startswith(".It ")]
    missing = []
    for place, word in rows():
        if word.startswith("-"):
            found = re.search(rf"Fl {re.escape(word[1:])}\b", page)
        else:
            path = [w for w in place.split("/") if w] + [word]
            found = any(all(re.search(rf"\b{re.escape(w)}\b", line) for w in path) for line in items)
        if not found:
            missing.append(f"{place} {word}")
    assert not missing
