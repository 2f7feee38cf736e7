"""The check of README's snippets finds what is wrong and leaves alone what is right."""

import argparse

import pytest

from tools.check_readme import blocks, check, check_command


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="hookd")
    made.add_argument("--config")
    made.add_argument("--set", action="append")
    commands = made.add_subparsers(dest="command")
    token = commands.add_parser("token")
    token.add_argument("--org")
    token.add_argument("--role", action="append")
    run = commands.add_parser("run")
    run.add_argument("--json", action="store_true")
    deliveries = commands.add_parser("deliveries").add_subparsers()
    deliveries.add_parser("list").add_argument("id")
    return made


GOOD = """\
# Title

```toml
[delivery]
timeout = "10s"

[[hosts.override]]
match = "*.example.com"
```

```console
$ hookd --config /etc/hookd/config.toml run --json
hookd is ready, no matter what --it prints
$ TOKEN=$(hookd token --org "$ORG" --role=publisher) && echo ok
$ curl -H "Authorization: Bearer $(hookd token \\
    --org $ORG)" http://127.0.0.1:8080/events
```

1. Indented:

   ```bash
   sudo HOOKD_CONFIG=x /opt/hookd/bin/hookd deliveries list ID | less  # hookd nonsense
   echo "it's" | hookd run -- --anything > file
   ```

```sql
select hookd.publish(null, 'hookd nonsense', '{}');
```

```python
hookd = nonsense
```
"""


def test_a_good_text_has_no_problems() -> None:
    assert check(GOOD, parser()) == ([], "1 TOML blocks, 5 commands, 1 SQL blocks")


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (
            "```toml\n[delivery]\ntimeot = 1\n```",
            'README.md line 4: unknown key "delivery.timeot": did you mean "delivery.timeout"?',
        ),
        ("```toml\n[delivery]\ntimeout =\n```", "README.md:4:10: is not TOML"),
        ("```console\n$ hookd rum\n```", "README.md line 3: hookd has no subcommand rum: did you mean run?"),
        (
            "```bash\ntrue && \\\n  hookd run --jsn\n```",
            "README.md line 3: hookd run has no option --jsn: did you mean --json?",
        ),
        (
            "```console\nhookd --confg x run\n```",
            "README.md line 3: hookd has no option --confg: did you mean --config?",
        ),
        (
            "```sh\necho $(hookd deliveries show)\n```",
            "README.md line 3: hookd deliveries has no subcommand show",
        ),
        (
            "~~~console\n$ hookd token --role a b --nope\n~~~",
            "README.md line 3: hookd token has no option --nope",
        ),
    ],
)
def test_a_problem_is_told_with_its_line(block: str, problem: str) -> None:
    (found,), _ = check(f"Text\n{block}\n", parser())
    assert found.startswith(problem)


def test_the_value_of_an_option_is_no_subcommand() -> None:
    assert check_command(["--set", "rum", "--config=nope", "run"], parser()) is None


def test_blocks_know_their_first_line() -> None:
    assert [(block.language, block.line) for block in blocks(GOOD)] == [
        ("toml", 4),
        ("console", 12),
        ("bash", 22),
        ("sql", 27),
        ("python", 31),
    ]
