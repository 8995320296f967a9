"""Images: references, manifests, the content-addressed store, layers and what is done with them."""
