"""An sshd of the tests' own on a loopback port, with keys of its own; no setting or service of the machine changes."""

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.blender_kills import children
from tests.scripts.processes import REPOSITORY

HOST = "worker-machine"

# As root, sshd wants a user and a folder that packages of systems make: it finds them in a namespace of its own.
_AS_ROOT = 'mount --bind "$1" /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && shift && exec "$@"'


@dataclass(frozen=True)
class SshServer:
    """Where it listens, and how it is spoken to.

    Attributes:
        process: the sshd that listens.
        path: a PATH on which `ssh` knows the server as HOST.
        python: a command of the "other machine" that runs Python with the project.
    """

    process: "subprocess.Popen[bytes]"
    path: str
    python: str

    def sessions(self) -> list[int]:
        """Processes of sshd that hold a connection."""
        return [pid for pid in _descendants(self.process.pid) if "sshd" in _command_of(pid)]


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Start an sshd; it ends with the block."""
    program = _sshd(folder)
    for name in ("host_key", "own_key", "another_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, capture_output=True
        )
    shutil.copyfile(folder / "own_key.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    public = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"AllowUsers {getpass.getuser()}\n{_helpers(program)}"
    )
    (folder / "ssh_config").write_text(
        f"Host {HOST} {HOST}-without-key\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
        f" UserKnownHostsFile {folder}/known_hosts\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n"
        f"Host {HOST}\n IdentityFile {folder}/own_key\nHost {HOST}-without-key\n IdentityFile {folder}/another_key\n"
    )
    client = shutil.which("ssh")
    _write_program(folder / "bin" / "ssh", f'exec {client} -F {folder}/ssh_config "$@"')
    python = f'PYTHONPATH={REPOSITORY} OMP_NUM_THREADS=1 exec {sys.executable} "$@"'
    _write_program(folder / "python there", python)
    log = (folder / "sshd.log").open("wb")
    command = [*_namespace(folder), str(program), "-D", "-e", "-f", str(folder / "sshd_config")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(port, process, folder / "sshd.log")
        yield SshServer(process, f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", str(folder / "python there"))
    finally:
        for pid in [*_descendants(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        log.close()


def _sshd(folder: Path) -> Path:
    """The program: the system's, or that of Debian's package, unpacked and not installed."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh")
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found:
        return Path(found)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb") and _brought(folder)):
        pytest.skip("needs sshd, which is not installed and cannot be fetched")
    return folder / "unpacked" / "usr" / "sbin" / "sshd"


def _brought(folder: Path) -> bool:
    packages = ["openssh-server", "libwrap0"]
    fetch = ["apt-get", "download", "-qq", *packages]
    for command in (fetch, ["apt-get", "update", "-qq"], fetch):
        subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
        found = sorted(folder.glob("*.deb"))
        if len(found) == len(packages):
            for package in found:
                subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "unpacked")], check=True)
            return True
    return False


def _helpers(program: Path) -> str:
    """From version 9.8 on sshd starts programs that lie elsewhere; an unpacked one has to be told where."""
    helpers = program.parents[1] / "lib" / "openssh"
    if program.is_relative_to("/usr") or not (helpers / "sshd-session").is_file():
        return ""
    auth = helpers / "sshd-auth"
    return f"SshdSessionPath {helpers}/sshd-session\n" + (f"SshdAuthPath {auth}\n" if auth.is_file() else "")


def _namespace(folder: Path) -> list[str]:
    libraries = next((folder / "unpacked").glob("**/libwrap.so.0"), None)
    environ = ["env", f"LD_LIBRARY_PATH={libraries.parent}"] if libraries else []
    if os.geteuid() != 0:
        return environ
    users = Path("/etc/passwd").read_text()
    if not any(user.pw_name == "sshd" for user in pwd.getpwall()):
        users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(users)
    return [
        *["unshare", "--mount", "--propagation", "private", "sh", "-c", _AS_ROOT, "sh", str(folder / "passwd")],
        *environ,
    ]


def _write_program(file: Path, line: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 60:
        with socket.socket() as asking:
            asking.settimeout(5)
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    pytest.skip(f"sshd does not start here: {log.read_text()[-300:]}")


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *_descendants(child)]
    return found


def _command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
