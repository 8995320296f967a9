"""Images in one tar file, as `docker save` writes and `docker load` reads them.

blobs/sha256/<hex>       configurations, layers (uncompressed tar streams, named by their diff_id), manifests, attestations
manifest.json            Docker's list: configuration, tags, layers
oci-layout, index.json   the same for OCI tools (OCI image specification, image-layout.md), with all platforms

`load` also reads archives with only one of the two lists, with compressed layers, and those that Docker wrote before 1.10.
"""
