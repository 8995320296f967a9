"""Authorized requests about one repository."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping

from engine.image.reference import Reference
from engine.registry.authorization import Authorization
from engine.registry.responses import Responses
from engine.registry.transport import Response, Transport
from engine.spec.credentials import Credentials


class Repository:
    """The repository of `reference` at its registry; `actions` is pull, or pull,push. Used by several threads at once."""

    def __init__(
        self, reference: Reference, actions: str, insecure: Collection[str], mirror: str, given: Credentials | None
    ) -> None:
        self.reference = reference
        self.transport = Transport(reference.registry, insecure, mirror)
        name = "/".join(filter(None, (self.transport.prefix, reference.repository)))
        self.root = f"/v2/{name}"
        self.authorization = Authorization(reference, self.transport, f"repository:{name}:{actions}", given)
        self.responses = Responses(reference, self.transport)

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], object] | None = None,
        retry: bool = True,
        authorize: bool = True,
    ) -> Iterator[Response]:
        """Send a request with the authorization known so far. After a 401, log in and send it once more."""
        for last in (False, True):
            with contextlib.ExitStack() as stack:
                sent = dict(headers or {})
                if authorize and (known := self.authorization.known()):
                    sent["Authorization"] = known
                response = stack.enter_context(
                    self.transport.request(method, url, headers=sent, body=body and body(), retry=retry)
                )
                if response.status != 401 or last or not authorize:
                    yield response
                    return
                self.authorization.log_in(response.headers.get("WWW-Authenticate", ""), sent.get("Authorization", ""))
