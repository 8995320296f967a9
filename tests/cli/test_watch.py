"""Which changes `watch` acts on, and where they go."""

from composer.cli.commands.watch import _quoted
from composer.cli.project.watch_rules import Rule


def test_rule_matches_and_destinations() -> None:
    rule = Rule("web", "/p/src/", "sync", target="/app", ignore=["*.log"])
    assert rule.concerns("/p/src/a.py") and not rule.concerns("/p/src/a.log") and not rule.concerns("/p/other")
    assert rule.destination("/p/src/sub/a.py") == "/app/sub/a.py"
    built = Rule("web", "/p/src", "sync", target="/app", context="/p", excluded=["src/private", "**/out"])
    for inside in ("private/a", "deep/out/a", ".git/HEAD", "deep/.a.py.swp", "a.py~", ".#a.py", ".idea/x.xml"):
        assert not built.concerns(f"/p/src/{inside}"), inside
    for inside in ("privates", "out.py", ".gitignore", "~a", "swp"):
        assert built.concerns(f"/p/src/{inside}"), inside
    single = Rule("web", "/p/one.txt", "sync", target="/app/1.txt", include=["*.py"])
    assert single.concerns("/p/one.txt") and single.destination("/p/one.txt") == "/app/1.txt"


def test_services_are_named_as_docker_compose_names_them():
    assert _quoted(["a", "b"]) == '["a" "b"]'
