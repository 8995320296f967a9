"""Builds as docker build, buildx and docker compose build ask for them: gRPC over HTTP/2 on an upgraded connection."""
