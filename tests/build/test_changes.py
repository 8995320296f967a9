import pytest

from engine.build.amend import amend
from engine.errors import BuildFailed
from engine.spec.image import ImageConfig


def test_changes():
    config = amend(ImageConfig(environment=("A=1",)), ['CMD ["x"]', "ENV B=$A C=3", "USER web", "EXPOSE 80"])
    assert config == ImageConfig(
        command=("x",), environment=("A=1", "B=1", "C=3"), user="web", exposed_ports=("80/tcp",)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [("RUN x", "RUN cannot be a change"), ("NOPE", "NOPE cannot be a change"), ("ENV A=${", "missing '}'")],
)
def test_invalid_changes_are_refused(change, message):
    with pytest.raises(BuildFailed, match=message):
        amend(ImageConfig(), [change])
