"""Which addresses a webhook may speak to: public ones, and hosts that the operator names.

Whoever submits a job chooses the URL, and the server must not become their arm into its own network.
A name is resolved once, every address that it has is looked at, and the connection goes to one of
those: a name that points elsewhere a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from core.errors import InvalidInput, ResolverUnavailable
from core.webhooks.look_ups import LookUps

PORTS = (443, 8443)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Global for the standard library, and yet local, or IPv4 addresses in a form that was given up.
_LOCAL = tuple(
    map(ipaddress.ip_network, ("64:ff9b:1::/48", "fec0::/10", "::/96", "::ffff:0:0:0/96"))
)
_HOST = re.compile(r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_look_ups = LookUps()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: `host` in lower case, `path` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def name(self) -> str:
        """Return the host and port as a `Host` header names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


def check_target(url: str, allowed: Collection[str] = (), owner: str = "") -> Target:
    """Hold a URL to the rules, its name resolved, and return where it leads.

    Args:
        url:     as the user gave it.
        allowed: hosts that the operator lets webhooks reach wherever they are, `host` or `host:port`.
        owner:   who asks, and may have a few names looked up at a time.

    Raises:
        InvalidInput: says what is wrong, and nothing of what was found behind a name.
        ResolverUnavailable: the name was not looked up in time.
        LimitReached: too many names of the owner's are being looked up.
    """
    target = read_target(url, allowed)
    if not is_allowed(target.host, target.port, allowed):
        place = (target.host, target.port)
        _look_ups.ask((owner, *place), lambda: addresses_of(*place))
    return target


def read_target(url: str, allowed: Collection[str] = ()) -> Target:
    """Read a URL without resolving its name.

    Raises:
        InvalidInput: it is no https URL to a usual port, nor one of an allowed host.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise _refusal("no URL") from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.fragment:
        raise _refusal("a URL of another form")
    if not (_is_address(host) or _HOST.match(host)) or not url.isascii() or " " in url:
        raise _refusal("a host or path with unusual characters")
    port = port or (443 if parts.scheme == "https" else 80)
    target = Target(parts.scheme, host, port, (parts.path or "/") + _query(parts.query))
    if is_allowed(host, port, allowed):
        return target
    if parts.scheme != "https":
        raise _refusal("http")
    if port not in PORTS:
        raise _refusal(f"port {port}")
    return target


def addresses_of(host: str, port: int) -> list[str]:
    """Resolve a name once and return its addresses, all of which are public.

    Raises:
        InvalidInput: it has none, or one of them is not.
        ResolverUnavailable: no name server answered.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            raise ResolverUnavailable(
                "no answer about a name", where="url of the webhook"
            ) from error
        raise _refusal("a name that cannot be resolved") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses or not all(map(is_public, addresses)):
        raise _refusal("an address that is not public")
    return addresses


def is_public(text: str) -> bool:
    """Tell whether an address belongs to the public internet, whatever it is wrapped in.

    >>> [is_public(a) for a in ("1.1.1.1", "10.0.0.1", "::ffff:127.0.0.1", "169.254.169.254")]
    [True, False, False, False]
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if any(address in network for network in _LOCAL):
        return False
    # An address is held to the rules beside what it wraps: older versions of Python call a mapped one
    # global that is shared among an operator's customers.
    inner = _wrapped(address)
    return all(one.is_global and not one.is_multicast for one in (address, inner) if one)


def is_allowed(host: str, port: int, allowed: Collection[str]) -> bool:
    """Tell whether the operator lets webhooks reach a host."""
    shown = f"[{host}]" if ":" in host else host
    return host in allowed or shown in allowed or f"{shown}:{port}" in allowed


def _wrapped(address: Address) -> Address | None:
    """Return the IPv4 address that an IPv6 one stands for, or leads to by way of a translator."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _query(query: str) -> str:
    return f"?{query}" if query else ""


def _refusal(found: str) -> InvalidInput:
    ports = " or ".join(map(str, PORTS))
    return InvalidInput(
        found,
        expected=f"https://host/path on port {ports}, with a public address",
        where="url of the webhook",
        hint="Ask the operator to name other hosts in REWARDSMITH_WEBHOOK_HOSTS.",
    )
