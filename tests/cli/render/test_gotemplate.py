"""`inspect --format`: what Go prints for the same template and value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.cli.errors import UsageError
from composer.cli.render.gotemplate import Template

VALUE = {"Name": "web", "State": {"Running": True, "Pid": 7}, "Args": ["a", "b c"], "Labels": {"x.y": "1", "b": "2"},
         "Nothing": None, "Empty": [], "Mounts": [{"Source": "/a"}, {"Source": "/b"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}} {{.State.Pid}} {{.State.Running}}", "web 7 true"),
        ("{{json .Labels}}", '{"x.y":"1","b":"2"}'),
        ('{{index .Labels "x.y"}}', "1"),
        ('{{index .Labels "no"}}', ""),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ('{{join .Args ","}}', "a,b c"),
        ("{{range .Mounts}}[{{.Source}}]{{end}}", "[/a][/b]"),
        ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}} {{end}}", "0=/a 1=/b "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "b=2;x.y=1;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ('{{if .Nothing}}a{{else if eq .Name "web"}}b{{else}}c{{end}}', "b"),
        ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "7 web"),
        ('{{.Name | upper | printf "%s!"}}', "WEB!"),
        ("{{len .Args}} {{.Nope}} {{.Nothing}}", "2 <no value> <no value>"),
        ("{{.Args}} {{.Labels}}", "[a b c] map[b:2 x.y:1]"),
        ("a {{- .Name -}} b{{/* no */}}", "awebb"),
        ("{{println .Name}}", "web\n"),
        ("{{.Name}}\\t{{.State.Pid}}", "web\t7"),
        ('{{printf "%5d|%-5d|%05d|%x|%+d" 42 42 42 255 3}}', "   42|42   |00042|ff|+3"),
        ('{{printf "%v %s %q %t %T %%" .State.Pid .Name .Name true .Name}}', '7 web "web" true string %'),
        ('{{printf "%d %s" .Name}}', "%!d(string=web) %!s(MISSING)"),
        ('{{printf "%.2s|%6s|%-6s|" .Name .Name .Name}}', "we|   web|web   |"),
        ('{{printf "x" 1}}', "x%!(EXTRA int=1)"),
        ("{{pad .Name 1 2}}|{{truncate .Name 2}}", " web  |we"),
        ("{{if and .State.Running (gt .State.Pid 5)}}y{{end}}", "y"),
    ],
)
def test_templates(template, text):
    assert Template(template).render(VALUE) == text


@pytest.mark.parametrize(
    "template", ["{{", "{{if .A}}", "{{end}}", "{{nope .A}}", "{{.A.B.C", "{{ }}{{|}}", "{{.Name.x}}"]
)
def test_invalid_templates_are_refused(template):
    with pytest.raises(UsageError, match="--format"):
        Template(template).render(VALUE)


@given(st.text(alphabet='{}.|"()$ ,:=abrangeifdwth', max_size=30))
def test_any_text_renders_or_ends_in_a_usage_error(text):
    try:
        Template(text).render(VALUE)
    except UsageError:
        pass
