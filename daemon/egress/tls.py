"""The TLS context that all outgoing connections share."""

import ssl


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
