"""Receivers that can be no bottleneck: nginx where it is installed, else one of our own. Loopback only.

Each "host" is an address of its own, 127.1.0.1 and on, so that each is a host to the daemon, too.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import trustme

from bench.processes import end, first_line, spawn
from bench.report import CannotRun

CHOICES = ("auto", "nginx", "own")
START_SECONDS = 10.0
_DEBIAN_SBIN = ":/usr/sbin:/usr/local/sbin"


@dataclass(slots=True)
class Receiver:
    """A running receiver. `urls`: one for each host; `ca_file` is to be trusted for them, "" without TLS."""

    title: str
    urls: list[str]
    ca_file: str
    control: int
    _asked: int = 0

    def counts(self) -> tuple[int, int]:
        """Return how many connections were accepted and how many requests have come since the start."""
        connection = HTTPConnection("127.0.0.1", self.control, timeout=10)
        try:
            connection.request("GET", "/")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        if not text.startswith("Active"):
            accepted, requests = (int(word) for word in text.split())
            return accepted, requests
        self._asked += 1  # nginx counts these, too
        words = text.splitlines()[2].split()
        return int(words[0]) - self._asked, int(words[2]) - self._asked

    def count(self) -> int:
        """Return how many requests have come since the start."""
        return self.counts()[1]

    @property
    def settings(self) -> dict[str, object]:
        """The daemon's settings with which it trusts this receiver."""
        return {"egress.ca_file": self.ca_file} if self.ca_file else {}


@contextmanager
def receiving(directory: Path, *, hosts: int, tls: bool = False, choice: str = "auto") -> Iterator[Receiver]:
    """Run a receiver that answers 200 at once. Error: `CannotRun`, also if nginx is asked for and missing."""
    directory.mkdir(parents=True)
    listened = addresses(hosts)
    ca_file, key_file = _certificate(directory, listened) if tls else ("", "")
    port, control = free_port(listened[0]), free_port("127.0.0.1")
    scheme = "https" if tls else "http"
    urls = [f"{scheme}://{address}:{port}/hook" for address in listened]
    nginx = shutil.which("nginx") or shutil.which("nginx", path=_DEBIAN_SBIN)
    if choice == "nginx" and nginx is None:
        raise CannotRun("nginx is not installed: install it, or leave --receiver away to use our own")
    if nginx is not None and choice != "own":
        title = f"nginx {_nginx_version(nginx)}"
        command = [nginx, "-p", str(directory), "-e", str(directory / "error.log")]
        command += ["-c", str(_nginx_file(directory, listened, port, control, key_file))]
        running = _nginx(command, directory, control)
    else:
        title = "our own (asyncio, one process)"
        command = [sys.executable, "-m", "bench.own_receiver", str(port), str(control), key_file, *listened]
        running = _own(command, directory)
    try:
        yield Receiver(title, urls, ca_file, control)
    finally:
        end(running)


def _own(command: list[str], directory: Path) -> "subprocess.Popen[str]":
    log = directory / "receiver.log"
    process = spawn(command, log)
    first_line(process, log)
    return process


def _nginx(command: list[str], directory: Path, control: int) -> "subprocess.Popen[str]":
    log = directory / "receiver.log"
    process = spawn(command, log)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", control), 1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                end(process)
                raise CannotRun(f"nginx does not start: {log.read_text().strip()[-1000:]}") from None
            time.sleep(0.02)


def _nginx_version(program: str) -> str:
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


def _nginx_file(directory: Path, addresses: list[str], port: int, control: int, key_file: str) -> Path:
    """Write nginx's configuration: kept connections, no logs, nothing read from a disk."""
    tls = f"ssl_certificate {key_file}; ssl_certificate_key {key_file}; ssl_session_cache shared:tls:10m;"
    listen = "\n".join(
        f"    listen {one}:{port}{' ssl' if key_file else ''} backlog=1024;" for one in addresses
    )
    path = directory / "nginx.conf"
    path.write_text(
        f"""
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
  access_log off;
  client_body_temp_path {directory}/bodies;
  client_body_buffer_size 64k;
  client_max_body_size 64m;
  keepalive_timeout 1h;
  keepalive_time 24h;
  keepalive_requests 1000000000;
  {tls if key_file else ""}
  server {{
{listen}
    return 200;
  }}
  server {{ listen 127.0.0.1:{control}; location / {{ stub_status; }} }}
}}
"""
    )
    return path


def _certificate(directory: Path, addresses: list[str]) -> tuple[str, str]:
    """Make an authority and one certificate for all addresses; return the files of both."""
    authority = trustme.CA()
    ca_file, key_file = directory / "ca.pem", directory / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    authority.issue_cert(*addresses).private_key_and_cert_chain_pem.write_to_path(str(key_file))
    return str(ca_file), str(key_file)


def addresses(hosts: int) -> list[str]:
    """Return an address of the loopback for each host. Error: `CannotRun`."""
    if hosts > 60_000:
        raise CannotRun(f"{hosts} hosts are more than a receiver has addresses: take fewer")
    return [f"127.1.{1 + n // 250}.{1 + n % 250}" for n in range(hosts)]


def free_port(address: str) -> int:
    """Return a port of the address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port
