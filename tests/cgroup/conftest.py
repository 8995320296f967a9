from tests.security.conftest import host

__all__ = ["host"]
