"""Reading the issuer's key set: guarded as every outgoing request is, but by an allow-list of its own."""

from ipaddress import ip_address

import httpx

from api.jwks import FETCH_TIMEOUT, Fetch, NoKeySet
from daemon.config.model import Config
from daemon.egress.addresses import AddressRules
from daemon.egress.assemble import NetworkSettings, make_exchange
from daemon.egress.errors import EgressError
from daemon.egress.guard import NO_ADDRESS
from daemon.egress.pool import Pool
from daemon.egress.transport import GuardedTransport
from daemon.egress.url import UrlRefused, parse_url
from daemon.process.outgoing_proxy import outgoing_proxy
from daemon.process.version import VERSION

MAX_KEY_SET = 256 * 1024
_HEADERS = {"Accept": "application/jwk-set+json, application/json", "User-Agent": f"hookd/{VERSION}"}
_ALLOW = "add its network to auth.jwks_allow_networks if it is the issuer's"


def key_set_fetch(config: Config) -> Fetch:
    """Return what reads `auth.jwks_url`. Error: ValueError, for what can be known before it is asked.

    The operator chose this URL, so that what `[egress]` says about subscriptions' URLs (https_only, ports,
    networks) does not hold for it: it is https, or http on this machine, as the configuration's check sees
    to. Trusted authorities, the name server, the proxy and the source address are those of `[egress]`. The
    media type is not looked at, as key sets are served under many.
    """
    auth, egress = config.auth, config.egress
    try:
        url = parse_url(auth.jwks_url, https_only=False)
        target = httpx.URL(auth.jwks_url)
    except (UrlRefused, httpx.InvalidURL) as error:
        raise ValueError(f"auth.jwks_url cannot be used: {error}") from error
    _refuse_address(url.host, AddressRules(auth.jwks_allow_networks))
    exchange = make_exchange(
        NetworkSettings(
            allow_networks=auth.jwks_allow_networks,
            ca_file=egress.ca_file,
            resolver=egress.resolver,
            proxy=outgoing_proxy(egress),
            source_address=egress.source_address,
        ),
        # Not the deliveries' pool: a connection that this allow-list let through must not serve them. None is
        # kept, as the next fetch is minutes away.
        pool=Pool(max_idle=0),
        max_response=MAX_KEY_SET,
    )
    transport = GuardedTransport(exchange, https_only=url.scheme == "https", max_body=MAX_KEY_SET)

    async def fetch() -> bytes:
        try:
            async with (
                httpx.AsyncClient(transport=transport, trust_env=False) as client,
                client.stream(
                    "GET", target, headers=_HEADERS, extensions={"deadline": FETCH_TIMEOUT}
                ) as response,
            ):
                _check(response)
                return b"".join([piece async for piece in response.aiter_raw()])
        except EgressError as error:
            raise NoKeySet(_explanation(error)) from error
        except httpx.HTTPError as error:
            raise NoKeySet(f"{type(error).__name__}; correct auth.jwks_url") from error

    return fetch


def _refuse_address(host: str, rules: AddressRules) -> None:
    try:
        rule = rules.refusal(ip_address(host))
    except ValueError:
        return  # a name: each connection is checked
    if rule is not None:
        raise ValueError(f"auth.jwks_url has an address that may not be connected to ({rule}); {_ALLOW}")


def _check(response: httpx.Response) -> None:
    if response.is_redirect:
        raise NoKeySet(
            f"the key server redirects ({response.status_code}), which is not followed; set auth.jwks_url to"
            " where the key set is"
        )
    if response.status_code != 200:
        raise NoKeySet(
            f"the key server answered {response.status_code}; see that the key set is at auth.jwks_url"
        )
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        # A few bytes may unpack to any number of them.
        raise NoKeySet(
            "the key set came compressed, though not asked for so; let the key server send it plain"
        )


def _explanation(error: EgressError) -> str:
    match error.code:
        case "address_forbidden":
            if error.rule == NO_ADDRESS:
                return "the host of auth.jwks_url has no address; correct the URL or its DNS records"
            return f"the address may not be connected to ({error.rule}); {_ALLOW}"
        case "response_too_large":
            return f"the answer is longer than {MAX_KEY_SET} bytes; see that auth.jwks_url is a key set's"
        case "tls_failed":
            return f"{error}; if its authority is your own, name it in egress.ca_file"
    return str(error)
