"""TLS as a client. The standard library only; `ssl` is imported when a connection needs it."""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, which a shipper does not load
if TYPE_CHECKING:
    from ssl import SSLContext


def client_context(authorities: str = "") -> SSLContext:
    """A context that verifies servers by the file `authorities`, or by the system's authorities if it is "". Raises OSError.

    Since Python 3.13, the default (VERIFY_X509_STRICT) refuses authorities without a key usage, which many private ones are,
    and which Docker admits.
    """
    import ssl

    context = ssl.create_default_context(cafile=authorities or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
