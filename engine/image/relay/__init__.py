"""The container that forwards connections to the endpoints of a provided service."""
