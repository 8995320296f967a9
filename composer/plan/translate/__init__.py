"""Project → Desired: the model in engine terms, one file for each concern. `project.py` is the pipeline."""

from composer.plan.translate.project import translate, translation
from composer.plan.translate.scope import TranslateError

__all__ = ["TranslateError", "translate", "translation"]
