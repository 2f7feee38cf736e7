import pytest

from daemon.cli.addresses import client_url


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[fd00::1]:80", "http://[fd00::1]:80"),
        ("unix:/run/hookd/api.sock", "unix:/run/hookd/api.sock"),
        ("http://hookd.example:8080", "http://hookd.example:8080"),
    ],
)
def test_an_address_is_shown_as_a_client_on_this_machine_reaches_it(address: str, url: str) -> None:
    assert client_url(address) == url
