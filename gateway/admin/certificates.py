"""The certificate by which the admin API is known: usable, or refused with a reason before anything is served."""

import ssl

from gateway.contracts.errors import InputError
from gateway.settings.admin import AdminTls


def server(tls: AdminTls) -> ssl.SSLContext:
    """TLS as a server speaks it. Raises InputError for a certificate or a key that cannot be used."""

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
