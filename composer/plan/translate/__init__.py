"""Project → Desired: translate the model to engine terms, one file per concern. `project.py` is the pipeline."""

from composer.plan.translate.project import translate, translation
from composer.plan.translate.scope import TranslateError

__all__ = ["TranslateError", "translate", "translation"]
