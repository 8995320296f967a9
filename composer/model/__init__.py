"""The typed project (pydantic), one file for each element of the specification."""

from composer.model.project import ModelError, Project
from composer.model.service import Service

__all__ = ["ModelError", "Project", "Service"]
