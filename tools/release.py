"""Builds what is released, a source distribution and its wheel, from the last commit, and tries the wheel.

    python -m tools.release [DIRECTORY]      (dist/, unless another one is named)

Nothing of it depends on when or where it is built: times are the commit's, files are in order and nobody's.
It is built twice, and both must be the same to the last byte. The wheel is installed into an environment of
its own, which takes only what hookd needs from this one, and its commands are run there.
"""

import gzip
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from daemon.cli.shipped import CONFIG, UNITS, shipped

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.{step}(sys.argv[1]))"
MUST_HAVE = ("api/py.typed", "daemon/py.typed", *(f"daemon/shipped/{name}" for name in (CONFIG, *UNITS)))


def main() -> int:
    """Return the exit status: 0 if all is well."""
    kept = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")
    if changed := output(["git", "status", "--porcelain"], ROOT):
        print(f"not committed, and so not in it:\n{changed}", file=sys.stderr)
    moment = int(output(["git", "log", "-1", "--format=%ct"], ROOT))
    with TemporaryDirectory(prefix="hookd-release-") as name:
        first, second = (build(Path(name) / number, moment) for number in ("1", "2"))
        for one, other in zip(first, second, strict=True):
            if one.read_bytes() != other.read_bytes():
                print(f"{one.name} is another one when it is built again", file=sys.stderr)
                return 1
        if fault := lacking(first[1]) or refusal(first[1], Path(name) / "environment"):
            print(fault, file=sys.stderr)
            return 1
        kept.mkdir(parents=True, exist_ok=True)
        for built in first:
            (kept / built.name).write_bytes(built.read_bytes())
            print(f"{kept / built.name}: {built.stat().st_size / 1000:.0f} kB, as before when built again")
    return 0


def build(directory: Path, moment: int) -> tuple[Path, Path]:
    """Build in an empty directory; return the source distribution and the wheel that is made of it."""
    tree, made = directory / "tree", directory / "dist"
    tree.mkdir(parents=True)
    made.mkdir()
    commit = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    unpack(commit, tree)
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(moment)}
    source = made / step("build_sdist", tree, made, environ)
    source.write_bytes(in_order(source.read_bytes(), moment))
    unpack(gzip.decompress(source.read_bytes()), directory)
    unpacked = directory / source.name.removesuffix(".tar.gz")
    return source, made / step("build_wheel", unpacked, made, environ)


def step(name: str, tree: Path, made: Path, environ: dict[str, str]) -> str:
    """Have setuptools take a step of PEP 517 in `tree`; return the name of the file that it made."""
    program = [sys.executable, "-c", BUILD.format(step=name), str(made)]
    return output(program, tree, environ).splitlines()[-1]


def unpack(archive: bytes, directory: Path) -> None:
    """Unpack a tar file; what it has may be read by everybody, whatever is this user's umask."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(directory, filter=lambda entry, _: plain(entry))  # noqa: S202  (our own)


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return an entry that belongs to nobody and has usual rights."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def in_order(archive: bytes, moment: int) -> bytes:
    """Return the same .tar.gz with its entries in order, of one time, and nobody's."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as before,
        gzip.GzipFile("", "wb", fileobj=packed, mtime=moment) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as after,
    ):
        for entry in sorted(before.getmembers(), key=lambda entry: entry.name):
            entry.mtime = moment
            entry.pax_headers = {}
            after.addfile(plain(entry), before.extractfile(entry) if entry.isfile() else None)
    return packed.getvalue()


def lacking(wheel: Path) -> str:
    """Return what the wheel lacks, "" if that is nothing."""
    with ZipFile(wheel) as packed:
        names = packed.namelist()
    missing = [name for name in MUST_HAVE if name not in names]
    return f"{wheel.name} lacks {', '.join(missing)}: see [tool.setuptools.package-data]" if missing else ""


def refusal(wheel: Path, environment: Path) -> str:
    """Install the wheel into a new environment and run its commands; return what is wrong, "" if nothing."""
    venv.create(environment, symlinks=True)
    python = str(environment / "bin" / "python")
    packages = Path(output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], ROOT))
    # What hookd needs, from here; its own installation here is a finder, which this does not bring along.
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [*installer(), "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], cwd=environment, check=True)
    hookd = str(environment / "bin" / "hookd")
    wanted = {
        ("--help",): "hookd delivers webhooks",
        ("config", "default"): shipped(CONFIG),
        ("check-config", "--config", str(packages / "daemon" / "shipped" / CONFIG)): "[api]",
        ("units",): shipped(UNITS[0]),
        ("units", UNITS[-1]): shipped(UNITS[-1]),
    }
    for arguments, text in wanted.items():
        if text.strip() not in output([hookd, *arguments], environment):
            return f"hookd {' '.join(arguments)} does not print what it should, where the wheel is installed"
    return ""


def installer() -> Sequence[str]:
    """Return the command of a pip that can install into other environments."""
    for python in (sys.executable, "python3"):
        found = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
        if found.returncode == 0:
            return [python, "-m", "pip"]
    sys.exit("there is no pip here: install it (apt-get install python3-pip), and run this again")


def output(command: Sequence[str], directory: Path, environ: dict[str, str] | None = None) -> str:
    """Run a command, which must not fail; return what it printed."""
    done = subprocess.run(command, cwd=directory, env=environ, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
