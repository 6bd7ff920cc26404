"""An sshd of the tests' own, as this user, on a free port of this machine, with keys that nobody else has.

With ``PARITY_REQUIRE_SSH=1`` a missing part fails instead of skipping.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START_S = 10.0
# sshd is in no user's PATH.
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])

_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
"""
# ssh takes the first value that it meets, but tries the keys of all of them.
_CLIENT = """\
Host noisy stranger
  IdentityFile {folder}/%n
Host * !noisy !stranger
  IdentityFile {folder}/own
Host nobody-listens
  Port {closed_port}
Host unverified
  StrictHostKeyChecking yes
  UserKnownHostsFile /dev/null
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentitiesOnly yes
  IdentityAgent none
  BatchMode yes
  ConnectTimeout 10
  StrictHostKeyChecking no
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
  LogLevel ERROR
"""


@dataclass(frozen=True, slots=True)
class SshServer:
    """A running server.

    Attributes
    ----------
    config
        For ``ssh -F``. ``here`` can be logged in to; ``noisy`` prints a line before each command; ``stranger`` is
        refused; behind ``nobody-listens`` is no server; of ``unverified`` the host key is not known.
    """

    config: Path
    port: int

    def spec(self, python: str, host: str = "here") -> str:
        """Return what ``--tensorrt-python`` takes."""
        return f"ssh=-F {self.config} {host}//python={python}"


@contextmanager
def ssh_server(folder: Path, programs: Path | None = None) -> Iterator[SshServer]:
    """Run a server while the block runs; skip where the machine has none, or lets none start.

    Its commands find the programs of a folder first, whatever the user's shell makes of PATH.
    """
    sshd, _ = _program("sshd"), _program("ssh")
    port = _write_settings(folder, _program("ssh-keygen"))
    if programs:
        with (folder / "sshd_config").open("a", encoding="utf-8") as settings:
            settings.write(f'ForceCommand PATH={programs}:$PATH; eval "$SSH_ORIGINAL_COMMAND"\n')
    log = folder / "sshd.log"
    with log.open("wb") as file:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=file)
    try:
        _wait_for_banner(process, port, log)
        server = SshServer(folder / "ssh_config", port)
        _require_login(server, log)
        yield server
    finally:
        process.terminate()
        process.wait()


def ssh_on_path(server: SshServer, folder: Path) -> str:
    """Return a PATH with an ``ssh`` that finds this server by any host's name, as a user's own configuration would."""
    program = folder / "ssh"
    words = ["exec", shlex.quote(_program("ssh")), "-F", shlex.quote(str(server.config)), '"$@"']
    program.write_text(f"#!/bin/sh\n{' '.join(words)}\n", encoding="utf-8")
    program.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])


def _program(name: str) -> str:
    return shutil.which(name, path=_PLACES) or _do_without(f"no {name} on this machine: install OpenSSH")


def _write_settings(folder: Path, keygen: str) -> int:
    """Write keys and both sides' settings, and return the server's port."""
    for name in ("host", "own", "noisy", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    own, noisy = ((folder / f"{name}.pub").read_text(encoding="utf-8") for name in ("own", "noisy"))
    greeting = r'command="echo Welcome to this machine; eval \"$SSH_ORIGINAL_COMMAND\""'
    (folder / "authorized").write_text(f"{own}{greeting} {noisy}", encoding="utf-8")
    port, closed_port = _free_ports()
    words = {"folder": folder, "port": port, "closed_port": closed_port, "user": _user()}
    (folder / "sshd_config").write_text(_SERVER.format(**words), encoding="utf-8")
    (folder / "ssh_config").write_text(_CLIENT.format(**words), encoding="utf-8")
    return port


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        _do_without(f"user {os.getuid()} has no account, so nobody can log in")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _wait_for_banner(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            time.sleep(0.05)
    _do_without(f"sshd does not start: {_last_words(log)}")


def _require_login(server: SshServer, log: Path) -> None:
    words = ["ssh", "-F", str(server.config), "here", "true"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        _do_without(f"nobody can log in to this machine: {done.stderr.strip()}; sshd: {_last_words(log)}")


def _last_words(log: Path) -> str:
    return " / ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("PARITY_REQUIRE_SSH") == "1":
        pytest.fail(f"PARITY_REQUIRE_SSH=1, and {reason}", pytrace=False)
    pytest.skip(reason)
