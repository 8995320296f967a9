"""Images: references, manifests, the content-addressed store and its layers."""
