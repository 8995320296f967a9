"""Planning: the desired state, the observed state, and the operations that lead from one to the other."""

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)
