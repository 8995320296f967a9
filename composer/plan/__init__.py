"""What the project wants, what there is, and the operations between them."""

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)
