"""The certificate by which the admin API is known: usable, or refused with a reason before anything is served; and read
again when its files change, since one that is renewed every few weeks would end while the gateway serves.
"""

import logging
import ssl

from gateway.admin.tokens import mark
from gateway.contracts.errors import InputError
from gateway.settings.admin import AdminTls

log = logging.getLogger("tollgate")


def followed(tls: AdminTls) -> ssl.SSLContext:
    """TLS as a server speaks it, by what the files say when a connection begins; what cannot be used changes nothing.

    Raises InputError for a certificate or a key that cannot be used now.
    """
    # Marked before they are read, so that no later change is missed.
    seen = mark(tls.certificate), mark(tls.key)
    current = _read(tls)

    def chosen(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        nonlocal seen, current
        marks = mark(tls.certificate), mark(tls.key)
        if marks != seen:
            seen = marks
            try:
                current = _read(tls)
            except InputError as error:
                log.error("admin: the certificate that was read last is still shown: %s", error)
            else:
                log.warning("admin: the certificate was read again")
        connection.context = current

    context = _read(tls)
    context.sni_callback = chosen  # called for clients that name no host, too
    return context


def _read(tls: AdminTls) -> ssl.SSLContext:
    def locked() -> str:
        raise InputError(
            f"admin.tls.key: {str(tls.key)!r} asks for a pass phrase, and nobody is there to type it: name a key "
            "without one (`openssl pkey -in KEY -out PLAIN`) that the gateway's user alone can read"
        )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(tls.certificate, tls.key, locked)  # without `locked` the terminal would be asked
    except OSError as error:
        told = f"{str(tls.certificate)!r} and {str(tls.key)!r} cannot be used: {error.strerror or error}"
        raise InputError(f"admin.tls: {told}: expected a certificate and its key, in PEM") from error
    return context
