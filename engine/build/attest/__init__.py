"""Attestations: statements of a build about how it created an image (provenance), and about its content (SBOM)."""
