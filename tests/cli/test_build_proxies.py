import json

import pytest

from composer.cli.errors import CommandError
from composer.cli.project.builds import proxies


def test_proxies_of_the_client_s_configuration(tmp_path):
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert proxies(environ) == {}
    config = {
        "auths": {},
        "proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "x"}, "tcp://a:1": {"httpsProxy": "q"}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert proxies(environ) == {
        "HTTP_PROXY": "http://p:1",
        "http_proxy": "http://p:1",
        "NO_PROXY": "x",
        "no_proxy": "x",
    }
    assert proxies({**environ, "DOCKER_HOST": "tcp://a:1"}) == {"HTTPS_PROXY": "q", "https_proxy": "q"}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CommandError, match="cannot read the client's configuration"):
        proxies(environ)
