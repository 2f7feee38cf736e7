"""Addresses that the API listens on, as clients write them."""

from daemon.config.bind import UnixBind, parse_bind

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def client_url(address: str) -> str:
    """Return the URL for a client on this machine, from an address in the form of `api.bind`.

    One that stands for every address becomes the loopback's; a Unix socket stays as it is, having no URL.
    """
    if address.startswith("http://"):
        return address
    bind = parse_bind(address)
    if isinstance(bind, UnixBind):
        return str(bind)
    host = _ANYWHERE.get(bind.host, bind.host)
    return f"http://[{host}]:{bind.port}" if ":" in host else f"http://{host}:{bind.port}"
