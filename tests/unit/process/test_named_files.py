"""Every file that the configuration leads to is opened, and all faults are told at once."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
import trustme

from daemon.cli.main import invoke
from daemon.config.load import INSTALLED, load
from daemon.process import named_files
from daemon.process.named_files import file_problems

Out = pytest.CaptureFixture[str]


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def problems(tmp_path: Path, *sets: str) -> list[str]:
    return file_problems(load(environ={}, sets=[f"state.directory={tmp_path}", *sets]))


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


def test_everything_that_cannot_be_used_is_told_at_once(tmp_path: Path, capsys: Out) -> None:
    config = tmp_path / "config.toml"
    raw = private(tmp_path / "raw.key", b"\xff" * 32)
    lists = private(tmp_path / "list.json", b"[]")
    config.write_text(
        f'[auth]\nsecret_file = "{tmp_path}/none"\n[database]\n'
        f'url = "postgresql://h/d?sslmode=verify-ca&sslrootcert={tmp_path}/root.crt"\n'
        f'[events]\ntypes = ["a.b", "c.d"]\nschemas = {{"a.b" = "{tmp_path}/a.json", "c.d" = "{lists}"}}\n'
        f'[egress]\nca_file = "{raw}"\n[signing]\nmaster_key_file = "{raw}"\n'
    )
    assert invoke(["--config", str(config), "check-config"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    told = [line.removeprefix(f"hookd: {config} line ") for line in err.splitlines()]
    assert [line.partition(" that ")[0].partition(" (")[0].partition("; ")[0] for line in told] == [
        f"2: auth.secret_file: {tmp_path}/none: there is no such file: make it, or correct the setting",
        f"4: database.url: has sslrootcert={tmp_path}/root.crt, which cannot be used",
        f"9: egress.ca_file '{raw}' cannot be used",
        f"7: events.schemas: {tmp_path}/a.json: there is no such file: make it, or correct events.schemas",
        f"7: events.schemas: {lists}: not a JSON Schema: write an object such as {{}} into it",
        f"11: signing.master_key_file: {raw}: holds raw bytes, not the base64 of a master key",
    ]


def test_files_are_opened_though_other_settings_are_not_good(tmp_path: Path, capsys: Out) -> None:
    sets = ["api.max_batch=0", "database.url=postgresql://h/d?sslmode=foo", "egress.ca_file=/none/ca"]
    words = [word for one in [*sets, f"state.directory={tmp_path}"] for word in ("--set", one)]
    assert invoke([*words, "check-config"]) == 2
    told = [line.removeprefix("hookd: --set: ") for line in capsys.readouterr().err.splitlines()]
    assert [line.split()[0] for line in told] == ["api.max_batch", "database.url", "egress.ca_file"]


def test_what_is_good_is_printed_with_its_file(tmp_path: Path, authority: Path, capsys: Out) -> None:
    key = private(tmp_path / "key", b64encode(os.urandom(32)))
    settings = ["--set", f"egress.ca_file={authority}", "--set", f"signing.master_key_file={key}"]
    command = ["--set", f"state.directory={tmp_path}", *settings, "check-config"]
    assert invoke(command) == 0
    assert capsys.readouterr().out.startswith(f"# the defaults, as there is no {INSTALLED}")
    assert invoke([*command, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert invoke([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["egress"]["ca_file"] == str(authority)


def test_what_a_first_start_makes_may_be_missing_and_must_be_good(tmp_path: Path) -> None:
    assert problems(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    private(tmp_path / "token.secret", b"short")
    private(tmp_path / "master.key", b"0f" * 32)
    secret, key = problems(tmp_path)
    assert secret.startswith("--set: state.directory: the secret for tokens is shorter than 32 bytes")
    assert key.startswith(f"--set: state.directory: {tmp_path / 'master.key'}: line 1 is hexadecimal")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("auth.secret_file={}/short", "auth.secret_file: the secret for tokens is shorter than 32 bytes"),
        ("auth.secret_file={}/open", "chmod 600"),
        ("database.url=postgresql://h/d?sslmode=verify-full", "no authority to verify by: add sslrootcert="),
        ("database.url=postgresql://h/d?sslcert={}/short&sslkey={}/short", "has sslcert="),
        ("events.schemas={{'match.accepted' = '{}'}}", "is not a regular file"),
        (f"events.schemas={{{{'match.accepted' = '{'x' * 300}'}}}}", "cannot be read (File name too long)"),
        ("state.directory={}/short", "cannot be read (Not a directory)"),
    ],
)
def test_each_kind_of_file(tmp_path: Path, setting: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    private(tmp_path / "short", b"short")
    private(tmp_path / "open", b"x" * 40).chmod(0o644)
    found = problems(tmp_path, setting.replace("{}", str(tmp_path)).replace("{{", "{").replace("}}", "}"))
    assert said in found[0]


def test_keys_of_an_issuer(tmp_path: Path) -> None:
    public = private(tmp_path / "issuer.pem", b"-----BEGIN PRIVATE KEY-----")
    (bad,) = problems(tmp_path, f"auth.public_key_file={public}", 'auth.algorithms=["ES256"]')
    assert bad.startswith("--set: auth.public_key_file: the public key for tokens is not a PEM file")
    sets = ["auth.jwks_url=https://10.0.0.1/keys", 'auth.algorithms=["ES256"]', "egress.ca_file=/none/ca"]
    authority, url = problems(tmp_path, *sets)
    assert authority.startswith("--set: auth.jwks_url has an address that may not be connected to")
    assert url.startswith("--set: egress.ca_file '/none/ca' cannot be used (No such file or directory)")


def test_a_password_file(tmp_path: Path) -> None:
    sets = ["database.url=postgresql://me@h/d", f"database.password_file={tmp_path}/password"]
    assert "there is no such file" in problems(tmp_path, *sets)[0]
    private(tmp_path / "password", b"hunter2\n")
    assert problems(tmp_path, *sets) == []


def test_credentials_are_not_opened_beside_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr(named_files, "CREDENTIALS", tmp_path)
    token = tmp_path / "hookd.service" / "token"
    setting = f"auth.secret_file={token}"
    assert f"{token}: there is no such file" in problems(tmp_path, setting)[0]
    assert invoke(["--set", setting, "check-config", "--quiet"]) == 0
    assert capsys.readouterr().err == f"hookd: warning: {token}: not opened: only the daemon sees it\n"
    token.parent.mkdir()
    assert invoke(["--set", setting, "check-config", "--quiet"]) == 2


def test_a_password_that_others_read_is_a_warning(tmp_path: Path, capsys: Out) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[database]\nurl = "postgresql://me:hunter2@h/d"\n')
    config.chmod(0o644)
    assert invoke(["--config", str(config), "check-config"]) == 0
    out, err = capsys.readouterr()
    assert f"hookd: warning: {config} line 2: database.url holds a password" in err
    assert "hunter2" not in out + err


def test_a_name_that_cannot_be_looked_for_is_no_traceback(capsys: Out) -> None:
    assert invoke(["--config", "x" * 300, "token", "--org", "0" * 32, "--role", "publisher"]) == 2
    assert "cannot be looked for (File name too long): let the user" in capsys.readouterr().err


def test_credentials_for_the_proxy(tmp_path: Path) -> None:
    proxy = "egress.proxy=http://proxy.example.com:3128"
    path = private(tmp_path / "proxy", b"hookd:secret\n")
    assert problems(tmp_path, proxy, f"egress.proxy_credentials_file={path}") == []
    path.write_bytes(b"secret")
    (said,) = problems(tmp_path, proxy, f"egress.proxy_credentials_file={path}")
    assert said.endswith(
        f"egress.proxy_credentials_file: {path}: has no colon: write user:password, on one line"
    )
    path.chmod(0o644)
    assert "chmod 600" in problems(tmp_path, proxy, f"egress.proxy_credentials_file={path}")[0]


def test_a_source_address_is_one_that_this_machine_has(tmp_path: Path) -> None:
    assert problems(tmp_path, 'egress.source_address=["127.0.0.2"]') == []
    (said,) = problems(tmp_path, 'egress.source_address=["192.0.2.1"]')
    assert "egress.source_address: has 192.0.2.1, which this machine cannot send from" in said


def test_a_proxy_that_resolves_is_warned_of(tmp_path: Path, capsys: Out) -> None:
    sets = ["egress.proxy=http://proxy.example.com:3128", f"state.directory={tmp_path}"]
    words = [word for one in sets for word in ("--set", one)]
    assert invoke([*words, "check-config", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert invoke([*words, "--set", "egress.proxy_resolves=true", "check-config", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("hookd: warning: --set: egress.proxy_resolves lets the proxy look names up")
