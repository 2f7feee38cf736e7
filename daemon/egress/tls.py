"""TLS of outgoing connections: the context that all share, the handshake, and what went wrong in words."""

import socket
import ssl

import trio

from daemon.egress.errors import EgressError, Fault


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """Return a context that verifies certificates and host names, with TLS 1.2 or later and HTTP/1.1 only.

    The trusted authorities are the system's, or only those in `ca_file` (PEM). Raises ValueError, with what
    to do about it, if that file cannot be used.
    """
    # Not ssl.create_default_context: it writes the session keys to a file if SSLKEYLOGFILE is set.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # RFC 9525 section 6.3: a name stands in subjectAltName; a Common Name is text for people.
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    if not ca_file:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"egress.ca_file {ca_file!r} cannot be used ({reason}); name a PEM file with CA certificates"
        ) from error
    return context


async def start_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    host: str,
    *,
    session: ssl.SSLSession | None,
    timeout: float,
) -> ssl.SSLSocket:
    """Return `sock` with TLS on it and its certificate checked against `host`, within `timeout` seconds.

    `session`, of an earlier connection to the same host, shortens the handshake. Raises EgressError
    (tls_failed, tls_timeout) with the socket closed.
    """
    try:
        sock = tls = context.wrap_socket(
            sock, server_hostname=host, do_handshake_on_connect=False, session=session
        )
        with trio.move_on_after(timeout):
            while True:
                try:
                    tls.do_handshake()
                    return tls
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(tls)
                except ssl.SSLWantWriteError:
                    await trio.lowlevel.wait_writable(tls)
        raise EgressError(
            "tls_timeout", "The host did not complete the TLS handshake in time; check its TLS settings."
        )
    except (OSError, ValueError) as error:
        sock.close()
        raise tls_error(error) from error
    except BaseException:
        sock.close()
        raise


def tls_error(error: Exception, fault: Fault = Fault.HOST) -> EgressError:
    """Return the tls_failed error for what OpenSSL, or the connection below it, complained of."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        advice = "install a certificate for this name from a trusted authority, with its whole chain"
    elif isinstance(error, ssl.SSLError):
        reason = (error.reason or "protocol error").replace("_", " ").lower()
        advice = "check that the port speaks TLS 1.2 or later"
    else:
        reason, advice = "connection lost", "check that the port speaks TLS 1.2 or later"
    return EgressError("tls_failed", f"TLS failed ({reason}); {advice}.", fault=fault)
