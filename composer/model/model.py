"""models.* (compose-spec, models.md): AI models that an outside runner serves"""

from __future__ import annotations

from composer.model.element import Element, Words


class LanguageModel(Element):
    name: str = ""
    model: str
    context_size: int = 0
    runtime_flags: Words = ()
