"""Whether receivers in seven languages take what hookd sends, and nothing else, by the document's snippets.

    python -m tests.interop [LANGUAGE…]

Exits with 1 where a snippet takes or refuses what it should not. A language that the machine lacks is named,
and is no failure.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from tests.interop.deliveries import Case, collect
from tests.interop.languages import HERE, LANGUAGES, Language, run, snippets
from tests.support.postgres import fresh_database, migrated_template, reachable_directory, server

BUILD = HERE.parents[1] / "build/interop"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("languages", nargs="*", choices=[[], *LANGUAGES], metavar="LANGUAGE")
    wanted = parser.parse_args().languages or list(LANGUAGES)
    assert set(snippets()) == set(LANGUAGES), "the document has a snippet for each language"
    programs, lacking = {}, []
    for name in wanted:
        if missing := LANGUAGES[name].missing():
            lacking.append(name)
            print(f"{name:<11} NOT RUN: no {' and no '.join(missing)} here: {LANGUAGES[name].remedy}")
        else:
            programs[name] = built(name, LANGUAGES[name])
    with (
        reachable_directory() as directory,
        server(directory) as url,
        fresh_database(url, migrated_template(url)) as database,
        tempfile.TemporaryDirectory() as work,
    ):
        cases = trio.run(collect, Path(work), database)
    print(f"{len(cases)} cases: {sum(one.good for one in cases)} to take, the others to refuse")
    bad = [name for name, command in programs.items() if not judged(name, command, cases)]
    summary = f"good in {len(programs) - len(bad)} languages"
    summary += f", FAILED in {', '.join(bad)}" if bad else ""
    summary += f"; NOT RUN: {', '.join(lacking)}" if lacking else ""
    print(f"interop: {summary}")
    return 1 if bad else 0


def built(name: str, language: Language) -> list[str]:
    """Build the snippet of a language, print the versions, and return the command that runs it."""
    target = BUILD / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / name, target)
    command = language.build(snippets()[name], target)
    versions = [line for version in language.versions for line in versioned(run(target, *version))]
    print(f"{name:<11} {', '.join(versions)}", flush=True)
    return command


def versioned(output: str) -> list[str]:
    """Return the lines that name a version, of a program its first alone."""
    lines = [line.strip(" └─├`-") for line in output.splitlines() if re.search(r"\d\.\d", line)]
    libraries = [line for line in lines if "standard" in line or line.startswith("http ")]
    return libraries or lines[:1]


def judged(name: str, command: list[str], cases: list[Case]) -> bool:
    """Give each case to a program; tell whether it judges all as it should."""
    lines = "".join(one.line() + "\n" for one in cases)
    done = subprocess.run(
        command, check=False, cwd=BUILD / name, input=lines, text=True, capture_output=True, timeout=60
    )
    said = done.stdout.splitlines()
    good = done.returncode == 0 and len(said) == len(cases) and not done.stderr
    if not good:
        print(f"{name:<11} exit status {done.returncode}, {len(said)} answers\n{done.stderr}")
    for one, verdict in zip(cases, said, strict=False):
        if verdict.split()[0] != ("good" if one.good else "refused"):
            print(f"{name:<11} {one.name}: {verdict}")
            good = False
    return good


if __name__ == "__main__":
    sys.exit(main())
