"""Which servers a client accepts."""

import ssl

from engine.tls import client_context


def test_authorities_need_no_key_usage():
    """Python 3.13 made this strictness the default; private authorities rarely comply."""
    context = client_context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
