"""The BuildKit API for docker build, buildx and docker compose build: gRPC over HTTP/2 on an upgraded connection."""
