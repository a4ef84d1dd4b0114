"""A real sshd on loopback, with keys, settings and a port of its own, for hosts that are this one.

Where the system has no sshd, Debian's packages of it are unpacked into the user's cache; nothing is installed. As root,
sshd wants a user of its own, which it finds in a mount namespace that has one.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PACKAGES = ("openssh-server", "libwrap0")


def program() -> tuple[str, dict[str, str]]:
    """The sshd to run, and what its environment needs."""
    for path in ("/usr/sbin/sshd", shutil.which("sshd")):
        if path and os.access(path, os.X_OK):
            return path, {}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtpnode" / "sshd"
    exe = cache / "usr" / "sbin" / "sshd"
    if not exe.exists():
        _unpack(cache)
    folders = [p for p in cache.glob("**/*-linux-gnu") if p.is_dir()]
    return str(exe), {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))}


def _unpack(cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        debs, tree = Path(folder, "debs"), Path(folder, "tree")
        debs.mkdir()
        try:
            try:
                _download(debs)
            except subprocess.CalledProcessError:  # A fresh host has no lists of packages, or old ones.
                subprocess.run(["apt-get", "update"], check=True, capture_output=True)
                _download(debs)
            for deb in debs.iterdir():
                subprocess.run(["dpkg", "-x", deb, tree], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as e:
            raise RuntimeError(
                "these tests need an sshd: install openssh-server, or have apt-get download it "
                f"({e}: {getattr(e, 'stderr', b'')!r})"
            ) from None
        os.replace(tree, cache)


def _download(folder: Path) -> None:
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True, capture_output=True)


class Sshd:
    """The server, and ``ssh``, the command by which its user reaches it as the hosts of ``names``."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        exe, env = program()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = folder / "sshd_config"
        settings.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            f"KbdInteractiveAuthentication no\nMaxStartups 100\nPermitUserEnvironment no\n"
        )
        self.log = folder / "sshd.log"
        command = [exe, "-D", "-f", str(settings), "-E", str(self.log)]
        if os.getuid() == 0:
            command = _with_user(folder, command)
        self.process = subprocess.Popen(command, env={**os.environ, **env}, stdin=subprocess.DEVNULL)
        entry = "".join(f"Host {name}\n HostName 127.0.0.1\n" for name in names)
        client = folder / "ssh_config"
        client.write_text(
            f"{entry}Host *\n Port {port}\n User {getpass.getuser()}\n"
            f" IdentityFile {folder}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {folder}/known\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
            f" ConnectionAttempts 50\n"
        )
        self.ssh = f"ssh -F {client}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def _with_user(folder: Path, command: list[str]) -> list[str]:
    """The command in a mount namespace whose /etc/passwd has the user that sshd wants, and the folder that it wants."""
    passwd = Path("/etc/passwd").read_text()
    if not any(line.startswith("sshd:") for line in passwd.splitlines()):
        passwd += "sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n"
    (folder / "passwd").write_text(passwd)
    (folder / "passwd").chmod(0o644)
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    script = f'mount --bind {folder}/passwd /etc/passwd && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *command]
