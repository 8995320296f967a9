from tests.log.conftest import bench  # noqa: F401
