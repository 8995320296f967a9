"""The rules of docs/architecture.md, enforced by reading the sources."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx
import pytest

TOP = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for package in ("composer", "engine") for path in (TOP / package).rglob("*.py"))
FILES = [
    str(path.relative_to(TOP))
    for folder in ("bench", "composer", "engine", "scripts", "tests")
    for path in (TOP / folder).rglob("*.[pc]*")
]
TREES = {path: ast.parse(path.read_text(), str(path)) for path in SOURCES}

MAY_IMPORT = {
    "composer.model": ("engine.quantities",),
    "composer.load": (
        "composer.cron", "composer.dependency_graph", "composer.model", "engine.digest", "engine.git_environment",
        "engine.quantities", "engine.temporary_directory",
    ),
    "composer.plan": ("composer.dependency_graph", "composer.release", "engine.spec"),
    "composer.plan.translate": (
        "composer.dependency_graph", "composer.model", "composer.plan", "composer.release", "engine.errors",
        "engine.image.reference", "engine.spec",
    ),
    "composer.plan.lock": ("composer.plan", "engine.errors", "engine.image.reference", "engine.spec"),
    "composer.compiled": ("engine.poll",),
    "composer.cron": (),
    "composer.dependency_graph": (),
    "composer.detach": (),
    "composer.release": (),
    "composer.view": (
        "composer.plan.labels", "composer.plan.naming", "engine.digest", "engine.filetree.size", "engine.spec",
    ),
    "composer.run": (
        "composer.compiled", "composer.cron", "composer.release", "composer.plan", "engine.spec", "engine.errors",
        "engine.paths", "engine.control", "engine.mount_view",
    ),
    "composer.run.early_fork": (
        "composer.compiled", "composer.plan", "composer.run", "engine.background", "engine.paths",
    ),
    "composer.run.launch": (
        "composer.compiled", "composer.plan", "engine.background", "engine.control", "engine.errors", "engine.paths",
        "engine.kernel.open_files", "engine.kernel.process_title",
    ),
    "composer.serve": (
        "engine.filetree.size", "engine.poll", "engine.temporary_directory",
        "composer.detach", "composer.release", "composer.plan", "composer.run", "composer.view",
        "engine.spec", "engine.errors", "engine.image.reference", "engine.kernel.allocator", "engine.kernel.open_files",
        "engine.paths",
    ),
    "composer.api": (),
    "composer.cli": (
        "engine.atomic", "composer.detach",
        "composer.dependency_graph",
        "composer.release", "composer.load", "composer.model", "composer.plan", "composer.run", "composer.serve", "composer.view",
        "engine.digest", "engine.spec", "engine.errors", "engine.paths", "engine.ignore", "engine.quantities", "engine.poll",
        "engine.filetree.size", "engine.tls",
    ),
    "composer.cli.main": (
        "composer.cli", "composer.compiled", "engine.api", "engine.paths", "engine.rootless.enter", "composer.run.port",
        "composer.run.early_fork",
    ),
    "engine.spec": ("engine.quantities",),
    "engine.quantities": (),
    "engine.atomic": ("engine.poll",),
    "engine.readable": (),
    "engine.errors": (),
    "engine.paths": ("engine.errors",),
    "engine.digest": (),
    "engine.directory_lock": (),
    "engine.temporary_directory": ("engine.directory_lock", "engine.filetree"),
    "engine.git_environment": (),
    "engine.bounded_read": ("engine.errors",),
    "engine.background": ("engine.control", "engine.disk_reserve", "engine.errors"),
    "engine.poll": (),
    "engine.tls": (),
    "engine.control": ("engine.errors", "engine.paths", "engine.poll"),
    "engine.ignore": ("engine.errors",),
    "engine.mount_view": ("engine.kernel", "engine.errors"),
    "engine.host": ("engine.kernel", "engine.errors", "engine.paths"),
    "engine.kernel": ("engine.errors",),
    "engine.store": ("engine.paths", "engine.disk_reserve", "engine.errors"),
    "engine.disk_reserve": ("engine.paths",),
    "engine.log": ("engine.kernel", "engine.errors"),
    "engine.log.ship": ("engine.kernel", "engine.errors", "engine.log", "engine.tls"),
    "engine.keeper": ("engine.atomic", "engine.control", "engine.kernel", "engine.errors", "engine.log", "engine.paths"),
    "engine.keeper.connection": ("engine.control", "engine.errors", "engine.paths"),
    "engine.keeper.client": ("engine.control", "engine.kernel", "engine.errors", "engine.paths", "engine.readable"),
    "engine.keeper.launch": ("engine.background", "engine.kernel", "engine.errors", "engine.paths", "engine.rootless"),
    "engine.rootless": (
        "engine.atomic", "engine.control", "engine.kernel", "engine.keeper", "engine.errors", "engine.paths", "engine.poll",
    ),
    "engine.rootless.enter": ("engine.kernel", "engine.errors", "engine.paths"),
    "engine.watch": ("engine.kernel", "engine.errors", "engine.paths"),
    "engine.filetree": ("engine.kernel", "engine.errors", "engine.poll"),
    "engine.image": (
        "engine.atomic", "engine.filetree", "engine.kernel", "engine.store", "engine.spec", "engine.paths", "engine.errors",
    ),
    "engine.registry": (
        "engine.tls", "engine.atomic",
        "engine.bounded_read", "engine.trust",
        "engine.filetree", "engine.image", "engine.kernel", "engine.store", "engine.spec", "engine.paths", "engine.errors",
    ),
    "engine.trust": (
        "engine.atomic",
        "engine.bounded_read", "engine.image", "engine.registry", "engine.spec", "engine.paths", "engine.errors",
    ),
    "engine.volume": (
        "engine.directory_lock",
        "engine.filetree", "engine.image", "engine.kernel", "engine.store", "engine.spec", "engine.paths", "engine.errors",
    ),
    "engine.net": (
        "engine.digest", "engine.kernel", "engine.rootless.client", "engine.store", "engine.spec", "engine.paths",
        "engine.errors", "engine.readable",
    ),
    "engine.cgroup": (
        "engine.digest", "engine.kernel", "engine.rootless.client", "engine.store", "engine.spec", "engine.paths",
        "engine.errors",
    ),
    "engine.container": (
        "engine.atomic", "engine.poll",
        "engine.bounded_read", "engine.disk_reserve",
        "engine.digest", "engine.filetree", "engine.kernel", "engine.keeper", "engine.log", "engine.cgroup", "engine.image",
        "engine.net",
        "engine.volume", "engine.store", "engine.spec", "engine.paths", "engine.errors",
    ),
    "engine.build": (
        "engine.directory_lock", "engine.git_environment", "engine.temporary_directory",
        "engine.atomic",
        "engine.bounded_read",
        "engine.control", "engine.filetree", "engine.ignore", "engine.quantities", "engine.poll",
        "engine.kernel", "engine.container", "engine.keeper", "engine.cgroup", "engine.net", "engine.image",
        "engine.tls", "engine.registry", "engine.session", "engine.trust", "engine.volume", "engine.store",
        "engine.spec", "engine.paths", "engine.errors",
    ),
}  # fmt: skip
"""Part → what it may import besides itself; the most specific holds. A part not named may import all of its package."""
EVERYWHERE = ("engine.rfc3339", "engine.vocabulary")
"""What every part may import."""

LEAST_NAMED = {"utils", "util", "common", "helpers", "helper", "misc"}


def module_of(path):
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, *, run_time=True):
    """Names of the modules imported in a file; with `run_time`, without those only for type checkers."""
    skipped = set()
    if run_time:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {id(inner) for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(TREES[path]):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, part):
    return name == part or name.startswith(f"{part}.")


def allowed(module):
    """What a module may import, its own part included."""
    package, *rest = module.split(".")
    if not rest:
        return (package,)
    part = max((part for part in MAY_IMPORT if within(module, part)), key=len, default="")
    return (f"{package}.{rest[0]}", *EVERYWHERE, *MAY_IMPORT.get(part, (package,)))


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_dependencies_point_one_way(path):
    module = module_of(path)
    wrong = []
    for name in imports(path):
        if not within(name, "composer") and not within(name, "engine"):
            continue
        if name not in ("composer", "engine") and not any(within(name, one) for one in allowed(module)):
            wrong.append(name)
    assert not wrong, f"{module} must not import {', '.join(sorted(set(wrong)))}"


def test_no_two_files_import_each_other():
    """Nor in a longer circle, nor by an import inside a function: a fact has one place."""
    names = {module_of(path) for path in SOURCES}
    graph = networkx.DiGraph()
    for path in SOURCES:
        here = module_of(path)
        graph.add_edges_from(
            (here, name) for name in imports(path) if name in names and not here.startswith(f"{name}.")
        )
    circles = [sorted(one) for one in networkx.strongly_connected_components(graph) if len(one) > 1]
    assert not circles


def test_only_main_opens_the_engine():
    opening = {module_of(path) for path in SOURCES if any(within(name, "engine.api") for name in imports(path))}
    assert {name for name in opening if within(name, "composer")} <= {
        "composer.cli.main",
        "composer.run.supervisor",
        "composer.run.main",
    }


def test_only_one_file_imports_networkx():
    users = {module_of(path) for path in SOURCES if any(within(name, "networkx") for name in imports(path))}
    assert {name for name in users if within(name, "composer")} <= {"composer.dependency_graph"}


LEAVES = (
    "engine.atomic",
    "engine.background",
    "engine.control",
    "engine.errors",
    "engine.kernel",
    "engine.paths",
    "engine.poll",
    "engine.readable",
    "engine.rfc3339",
    "engine.tls",
    "engine.vocabulary",
)
"""What every process may use: the standard library only."""
OUTSIDE = ("engine.rootless.client",)
"""What engine.keeper.client uses to start a keeper; also the standard library only."""

KEEPERS = [p for p in SOURCES if within(module_of(p), "engine.keeper") or within(module_of(p), "engine.log")]


@pytest.mark.parametrize("path", KEEPERS, ids=module_of)
def test_the_keeper_needs_the_standard_library_only(path):
    foreign = {
        name
        for name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not within(name, "engine.keeper")
        and not any(within(name, leaf) for leaf in (*LEAVES, "engine.log", *OUTSIDE))
        and name != "engine"
    }
    assert not foreign


def test_no_package_defines_the_name_of_its_module():
    """The module replaces it in the package as soon as it is imported."""
    taken = [
        f"{path.relative_to(TOP)}: {node.name}"
        for path, tree in TREES.items()
        if path.name == "__init__.py"
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if (path.parent / f"{node.name}.py").exists() or (path.parent / node.name).is_dir()
    ]
    assert not taken


def test_system_calls_are_made_in_one_place():
    users = {module_of(path) for path in SOURCES if "ctypes" in set(imports(path))}
    assert not [name for name in users if not within(name, "engine.kernel")]


def test_decoders_are_made_at_import():
    """Threads that concurrently decode a msgspec type for the first time crash, so decoders are created at module
    level."""
    late = []
    for path, tree in TREES.items():
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        calls = {call for function in functions for call in ast.walk(function) if isinstance(call, ast.Call)}
        for call in calls:
            name = ast.unparse(call.func)
            typed = any(keyword.arg == "type" for keyword in call.keywords)
            if name in ("msgspec.json.Decoder", "json.Decoder") or (name == "msgspec.json.decode" and typed):
                late.append(f"{path.relative_to(TOP)}:{call.lineno}")
    assert not late


BY_NAME = {"chmod", "chown", "lchown", "utime", "setxattr"}
UNTRUSTED = ("engine.image", "engine.volume", "engine.container", "engine.session", "engine.filetree", "engine.build")
"""Parts that write where a container may replace a name at any moment."""


def test_attributes_are_set_by_descriptor():
    """If we wrote by name, a link that a container puts there would give it any file of the machine."""
    own = {"engine.filetree.attributes", "engine.build.run_mounts", "engine.image.layer.mountpoints"}
    found = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        if any(within(module_of(path), part) for part in UNTRUSTED) and module_of(path) not in own
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {f"os.{name}" for name in BY_NAME}
        and not (node.func.attr == "setxattr" and ast.unparse(node.args[0]) == "directory")
    ]
    assert not found, "use engine.filetree.attributes"


def test_readers_are_registered_in_one_place():
    """A descriptor that is closed while it is registered hides the next one of its number."""
    kinds = {f"{change}_{kind}" for change in ("add", "remove") for kind in ("reader", "writer")}
    users = {
        module_of(path)
        for path in SOURCES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute) and node.attr in kinds
    }
    assert users == {"engine.readable"}, "use engine.readable.Readable"


def test_nothing_waits_by_select():
    """select(2) takes only descriptors below 1024, and the process that starts us may have more open."""
    users = {
        module_of(path)
        for path in SOURCES
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute)
        and node.attr == "select"
        and ast.unparse(node.value) in ("select", "selecting")
    }
    assert not users, "use engine.poll"


def test_trees_are_removed_in_one_place():
    users = {module_of(path) for path in SOURCES if within(module_of(path), "engine") and "rmtree" in path.read_text()}
    assert not users, "use engine.filetree.remove, which knows deep trees"


def docstrings(tree):
    """Docstrings of modules, classes, functions and of attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{path.name}" for path in (TOP / "docs").glob("*.md"))])
def test_files_that_the_documentation_names_exist(page):
    """Whole paths, or the end of one. The drawings of docs/architecture.md are covered, too."""
    assert not missing_files((TOP / page).read_text())


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_files_that_docstrings_name_exist(path):
    assert not missing_files("\n".join(docstrings(TREES[path])))


def missing_files(text):
    named = set(re.findall(r"(?<![\w/.*-])([a-z_][\w/]*\.(?:py|c))\b(?![\w.(])", text))
    return {name for name in named if not any(path == name or path.endswith(f"/{name}") for path in FILES)}


def test_file_lengths():
    lengths = {module_of(path): len(path.read_text().splitlines()) for path in SOURCES if path.stat().st_size}
    assert not {name: length for name, length in lengths.items() if length > 600}
    assert statistics.median(lengths.values()) <= 150


def test_names():
    assert not [path for path in TOP.rglob("*.py") if path.stem in LEAST_NAMED and ".venv" not in path.parts]


def test_every_import_is_declared():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    distributions = {"yaml": "pyyaml", "dotenv": "python-dotenv"}
    declared = {name.split(">")[0].lower() for name in project["dependencies"]}
    foreign = {name.split(".")[0] for path in SOURCES for name in imports(path)}
    foreign -= set(sys.stdlib_module_names) | {"composer", "engine", "__future__"}
    assert {distributions.get(name, name) for name in foreign} <= declared


HEAVY = ("pydantic", "networkx", "pyroute2", "jeepney", "yaml", "cryptography")
RARE = ("bz2", "glob", "hashlib", "lzma", "random", "shutil", "tempfile", "urllib")
"""The standard library's slower modules, which the start of a plain container does not need."""


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("composer.cli.main", (*HEAVY, "asyncio", "anyio", "msgspec", "typing", "re")),
        ("composer.cli.commands.ps", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.up", (*HEAVY, *RARE)),
        ("composer.cli.project.change", (*HEAVY, *RARE, "json", "platform")),
        ("composer.cli.project.acquire", (*HEAVY, *RARE, "json", "platform")),
        ("composer.cli.commands.exec", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.run", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.project.oneoff", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.cp", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.container", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.image", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.network", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("composer.cli.commands.volume", (*HEAVY, *RARE, "ctypes", "json", "platform")),
        ("engine.api", (*HEAVY, *RARE, "ctypes", "json")),
        ("engine.build.builder", (*HEAVY, "asyncio", "concurrent", "email", "lzma", "shutil", "subprocess", "urllib3")),
        ("engine.image.images", (*HEAVY, *RARE, "ctypes", "json")),
        ("composer.run.supervisor", (*HEAVY, *RARE)),
        ("composer.serve.server", HEAVY),
        ("composer.serve.buildkit.control", HEAVY),
        ("engine.session.session", (*HEAVY, *RARE)),
        ("engine.session.adopt", (*HEAVY, *RARE)),
        ("engine.keeper.main", (*HEAVY, "asyncio", "anyio", "msgspec", "sqlite3", "typing", "base64")),
    ],
)
def test_frequent_commands_import_little(module, heavy):
    code = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {name for name in loaded if name.split(".")[0] in heavy}


def test_planners_are_imported_when_needed():
    code = "import sys, composer.plan.reconcile; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert not {"composer.plan.up", "composer.plan.lifecycle"} & set(loaded.stdout.split())


def test_version_imports_little(tmp_path):
    environ = {
        "COMPOSER_STATE_ROOT": str(tmp_path / "s"),
        "COMPOSER_RUN_ROOT": str(tmp_path / "r"),
        "PYTHONPATH": str(TOP),
    }
    command = [sys.executable, "-X", "importtime", "-m", "composer", "version"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {*HEAVY, "anyio", "asyncio", "sqlite3"}
