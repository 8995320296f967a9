"""Names for containers that a client did not name: two words, as in Docker."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from composer.view import lookup

if TYPE_CHECKING:
    from composer.run.port import Engine

_ADJECTIVES = (
    "able amber ample azure bold brave breezy bright brisk calm candid careful cheerful clever cosmic crisp curious daring "
    "eager early earnest easy elegant fair fancy fine fleet fond frank fresh gentle glad golden graceful grand happy hardy "
    "honest humble jolly keen kind lively loyal lucid lucky mellow merry mighty modest neat nimble noble patient placid "
    "plucky polite proud quick quiet rapid ready robust serene sharp silent sincere smart snug steady sturdy sunny swift "
    "tidy tranquil trusty upbeat vivid warm wise witty zesty"
).split()
_SURNAMES = (
    "abel ampere banach bell bernoulli bohr boole born bose brahe cantor carson cauchy cerf chandra church curie dalton "
    "darwin dijkstra dirac edison einstein erdos euclid euler faraday fermat fermi feynman fourier franklin galileo galois "
    "gauss germain goedel goodall hamilton hamming hawking heisenberg hertz hilbert hopper hubble huygens hypatia joule "
    "kepler kilby knuth kovalevskaya lagrange lamarr laplace leibniz liskov lovelace maxwell meitner mendel morse napier "
    "nash neumann newton nobel noether pascal pasteur pauli planck poincare ptolemy raman riemann ritchie rutherford "
    "shannon somerville tesla thompson turing volta wilson wright wu yalow"
).split()


def free_name(engine: Engine) -> str:
    """`adjective_surname`, with a number if all attempts are taken."""
    taken = {record.spec.name for record in lookup.every(engine)}
    for attempt in itertools.count():
        name = f"{random.choice(_ADJECTIVES)}_{random.choice(_SURNAMES)}{attempt - 5 if attempt > 5 else ''}"
        if name not in taken:
            return name
    raise AssertionError("unreachable")
