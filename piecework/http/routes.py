"""The way to a server: its address, a proxy before it, and the certificates that it may show."""

import base64
import ipaddress
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from piecework.http.urls import DEFAULT_PORTS, check_url, read_host_and_port

CA_VARIABLES = ("PIECEWORK_CA", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Each names a file or directory of certificates to trust; without one the system's are. The first counts: those
that are for fewer programs stand before those that are for more."""
OPENSSL_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""OpenSSL reads these by itself."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy between here and the server."""

    host: str
    port: int
    header: str = field(default="", repr=False)
    """The header line that lets one use it, with its end; "" for none."""
    variable: str = ""
    """The variable that names it; "" for the system's own settings."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        source = f"{self.variable} names it" if self.variable else "the system names it"
        return f"the proxy http://{host}:{self.port} ({source})"


@dataclass(frozen=True)
class ServerRoute:
    """How to get to a server."""

    host: str
    """In ASCII, as DNS knows it."""
    port: int
    authority: str
    """Host and port as they go into headers, the port only when it is not the usual one."""
    tls: ssl.SSLContext | None
    """None for plain HTTP."""
    target: str
    """What stands before the path in a request's first line: with a proxy and without TLS, the whole base URL."""
    proxy: Proxy | None
    trusted: str = ""
    """Which certificates ``tls`` trusts, in words."""

    @property
    def proxy_header(self) -> str:
        """The header line for the proxy that goes into each request; "" when a tunnel makes it needless."""
        return self.proxy.header if self.proxy and not self.tls else ""


def find_route(url: str, ca: Path | None = None, environ: Mapping[str, str] = os.environ) -> ServerRoute:
    """Return the way to a server. Its proxy is that of the environment.

    ``ca``: a file or directory of certificates to trust; None for those of the environment. Raises ValueError for
    a bad URL, for certificates that cannot be used, and when the environment names a proxy that cannot.
    """
    parts = urlsplit(check_url(url))
    host, port = read_host_and_port(url)
    authority = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[parts.scheme]:
        authority = f"{authority}:{port}"
    prefix = quote(parts.path, safe="/%:@!$&'()*+,;=~")
    proxy = _find_proxy(parts.scheme, host, port)
    tls, trusted = find_trust(ca, environ) if parts.scheme == "https" else (None, "")
    return ServerRoute(
        host=host,
        port=port,
        authority=authority,
        target=f"http://{authority}{prefix}" if proxy and parts.scheme == "http" else prefix,
        tls=tls,
        proxy=proxy,
        trusted=trusted,
    )


def find_trust(ca: Path | None = None, environ: Mapping[str, str] = os.environ) -> tuple[ssl.SSLContext, str]:
    """Return what checks certificates, and which ones it trusts, as ``find_route`` does. Raises ValueError."""
    if ca is not None:
        source = CA_VARIABLES[0] if str(ca) == environ.get(CA_VARIABLES[0]) else "--ca"
        return _load(ca, f"{source} names {ca}, which cannot be used"), f"those in {ca} ({source})"
    name = next((name for name in CA_VARIABLES if environ.get(name)), None)
    if name is None:
        return ssl.create_default_context(), "the system's"
    path = Path(environ[name])
    if name != "SSL_CERT_DIR":  # a list of directories, which may be missing
        loaded = _load(path, f"{name} names {path}, which cannot be used")
    tls = ssl.create_default_context() if name in OPENSSL_VARIABLES else loaded
    return tls, f"those in {path} ({name})"


def _load(path: Path, wrong: str) -> ssl.SSLContext:
    """Trust a file, or directory, of certificates. Raises ValueError."""
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        reason = "it has no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"{wrong}: {reason}") from error


def _find_proxy(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY names the host."""
    found = getproxies()
    url = found.get(scheme) or found.get("all")
    if not url or proxy_bypass(host) or proxy_bypass(f"{host}:{port}") or _is_within(host, found.get("no", "")):
        return None
    variable = _find_variable(f"{scheme}_proxy" if found.get(scheme) else "all_proxy", url)
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        source = variable or "the system"
        raise ValueError(f"{source} names a proxy for {scheme} whose URL does not begin with http://")
    given = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    encoded = base64.b64encode(given.encode()).decode()
    header = f"Proxy-Authorization: Basic {encoded}\r\n" if parts.username else ""
    return Proxy(parts.hostname, parts.port or DEFAULT_PORTS["http"], header, variable)


def _find_variable(name: str, value: str) -> str:
    """Return under which spelling of its name a variable has a value; "" when it has not."""
    return next((each for each in (name, name.upper()) if os.environ.get(each) == value), "")


def _is_within(host: str, networks: str) -> bool:
    """Tell whether a host given by its address is in one of the networks of a NO_PROXY list, as 10.0.0.0/8."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        for text in networks.split(","):
            with suppress(ValueError):
                if address in ipaddress.ip_network(text.strip(), strict=False):
                    return True
    return False
