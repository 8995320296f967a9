"""Attestations: what a build states about how it made an image (provenance), and about its content (SBOM)."""
