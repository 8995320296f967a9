"""`models` of a service: the variables with an AI model's name and its server's address (compose-spec, models.md)."""

from __future__ import annotations

from composer.plan.desired import DesiredModel
from composer.plan.translate.scope import Scope


def models(scope: Scope) -> tuple[DesiredModel, ...]:
    """The models that the service uses, by name."""
    found = []
    for key, reference in sorted(scope.service.models.items()):
        model = scope.project.models.get(key)
        if model is None:
            scope.refuse(("models", key), "is not one of the project's models")
            continue
        prefix = key.upper().replace("-", "_").replace(".", "_")
        found.append(
            DesiredModel(
                name=model.name or key,
                model=model.model,
                context_size=model.context_size,
                runtime_flags=model.runtime_flags,
                endpoint=model.endpoint,
                model_variable=(reference.model_var if reference else "") or f"{prefix}_MODEL",
                endpoint_variable=(reference.endpoint_var if reference else "") or f"{prefix}_URL",
            )
        )
    return tuple(found)
