"""Projects that are published to a registry, and read from there, as a user sees it."""

import glob
import hashlib
import json
import urllib.request

import pytest

STACK = """
    services:
      web:
        extends: {file: parts/base.yaml, service: common}
        environment: {GREETING: "${GREETING:-good day}"}
        env_file: parts/town.env
"""
KINDS = "application/vnd.docker.compose."
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def stack(composer):
    composer.environ["XDG_CACHE_HOME"] = f"{composer.folder}/cache"
    composer.write(
        {"parts/base.yaml": "services: {common: {image: busybox, command: env}}\n", "parts/town.env": "TOWN=Trier\n"},
        compose=STACK,
    )
    return composer


def manifest(registry, repository, pinned, kind=MANIFEST):
    asked = urllib.request.Request(f"http://{registry}/v2/{repository}/manifests/{pinned}", headers={"Accept": kind})
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
    return json.loads(body), f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_published_project_is_loaded(stack, registry):
    done = stack("publish", "--with-env", f"{registry}/stack:1")
    assert f"{registry}/stack:1 published" in done.err
    made, digest = manifest(registry, "stack", 1)
    assert made["artifactType"] == f"{KINDS}project"
    assert [layer["mediaType"].removeprefix(KINDS) for layer in made["layers"]] == ["file+yaml", "file+yaml", "envfile"]
    source = f"oci://{registry}/stack:1"
    services = json.loads(stack("-f", source, "config", "--format", "json").out)["services"]
    assert services["web"]["environment"] == {"GREETING": "good day", "TOWN": "Trier"}
    assert services["web"]["image"] == "busybox"
    kept = stack.folder / "cache/composer/oci" / digest.removeprefix("sha256:")
    assert (kept / "compose.yaml").exists() and kept.stat().st_mode & 0o777 == 0o700
    stack.write({"parts/town.env": "TOWN=Metz\n"})("publish", "--with-env", f"{registry}/stack:1")
    stack("-f", source, "config", "-q")
    assert len(list(kept.parent.iterdir())) == 2


def test_publish_prompts_for_variables(stack, registry):
    stack("publish", "--with-env", f"{registry}/stack:1")
    source = ("-f", f"oci://{registry}/stack:1")
    done = stack(*source, "up", stdin="n\n", code=1)
    assert "GREETING   good day   compose file   no         good day" in done.out
    assert "operation cancelled by user" in done.err and not stack.ps()
    done = stack(*source, "up", "--no-log-prefix", stdin="y\n", environ={"GREETING": "hi"})
    assert "GREETING   hi      environment" in done.out and "GREETING=hi\n" in done.out
    stack(*source, "down")


def test_files_of_registries_in_include_and_extends(stack, registry):
    stack("publish", "--with-env", f"{registry}/stack:1")
    source = f"oci://{registry}/stack:1"
    stack.write(
        {"mine.yaml": f"include: ['{source}']\nservices: {{own: {{extends: {{file: '{source}', service: web}}}}}}\n"}
    )
    services = json.loads(stack("-f", "mine.yaml", "config", "--format", "json").out)["services"]
    assert services["own"]["environment"] == services["web"]["environment"] == {"GREETING": "good day", "TOWN": "Trier"}
    stack.write({"mine.yaml": f"include: ['{source}0']\n"})
    done = stack("-f", "mine.yaml", "config", code=1)
    assert f"mine.yaml:1:11: cannot fetch {source}0: no such image" in done.err
    done = stack("-f", source, "config", code=1, environ={"COMPOSE_EXPERIMENTAL_OCI_REMOTE": "false"})
    assert 'OCI remote resource is disabled by "COMPOSE_EXPERIMENTAL_OCI_REMOTE"' in done.err


def test_remote_files_need_confirmation_for_host_access(composer, registry):
    composer.environ["XDG_CACHE_HOME"] = f"{composer.folder}/cache"
    composer.write(compose="services: {web: {image: busybox, privileged: true, volumes: ['/etc:/x']}}\n")
    assert ":/x:rw" in composer("publish", f"{registry}/p", stdin="y\n").out
    composer.write(compose=f"include: ['oci://{registry}/p']\n")
    done = composer("up", stdin="n\n", code=1)
    assert "service web is privileged" in done.out and "service web mounts /etc" in done.out
    assert "operation cancelled by user" in done.err and not composer.ps()
    composer("up", "--yes")
    composer("down")


@pytest.mark.parametrize(
    ("text", "answers", "words"),
    [
        ("{image: busybox, volumes: ['/etc:/x']}", "n", "/etc:/x:rw"),
        ("{image: busybox, environment: ['DB_PASSWORD=hunter2']}", "n", 'service "web": literal value for "DB_PASSWORD"'),
        ("{image: busybox, env_file: b.env}", "n", 'Github authentication\n"TOKEN": gh'),
        ("{image: busybox, env_file: a.env}", "n", 'service "web": env_file declared'),
        ("{image: busybox, configs: [c]}\nconfigs: {c: {content: literal}}", "n", 'config "c"'),
        ("{image: busybox, environment: {U: 'http://me:word@x/'}}", "n", '"services.web.environment.U": http://me:word@x/'),
    ],
)  # fmt: skip
def test_sensitive_content_needs_confirmation(composer, text, answers, words):
    composer.write(
        {"a.env": "TOWN=Trier\n", "b.env": f"TOKEN=gh{'p_'}{'k3' * 18}\n"}, compose=f"services:\n  web: {text}\n"
    )
    done = composer("publish", "--dry-run", "some/where:1", stdin=f"{answers}\n", code=130)
    assert words in done.out and "published" not in done.err
    assert "published" in composer("publish", "--dry-run", "some/where:1", stdin="y\ny\n").err
    assert "published" in composer("publish", "--dry-run", "--yes", "some/where:1").err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: [other.yaml]\n", "cannot publish compose file with local includes: other.yaml"),
        ("services: {a: {build: .}}\n", 'only contains a build section for service(s):\n- "a"'),
        ("services: {a: {image: busybox}}\n", "unsupported OCI version: 2.0"),
    ],
)
def test_refused(composer, registry, text, message):
    composer.write({"other.yaml": "services: {b: {image: busybox}}\n"}, compose=text)
    assert message in composer("publish", "--oci-version", "2.0", f"{registry}/p", code=1).err


def test_an_older_oci_version(stack, registry):
    stack("publish", "--yes", "--oci-version", "1.0", f"{registry}/old")
    made, _ = manifest(registry, "old", "latest")
    assert "artifactType" not in made and made["config"]["mediaType"] == f"{KINDS}config.empty.v1+json"
    composer = stack.write({"parts/town.env": ""})
    assert composer("-f", f"oci://{registry}/old", "config", code=1).err.count("env file") == 1  # it was not sent


def test_images_are_pinned_and_copied(composer, registry, roots):
    composer.environ["XDG_CACHE_HOME"] = f"{composer.folder}/cache"
    composer.write(
        compose=f"services: {{web: {{image: '{registry}/walls:1', build: {{dockerfile_inline: FROM busybox}}}}}}\n"
    )
    composer("build")
    composer("publish", "--app", f"{registry}/house/app:1")
    made, digest = manifest(registry, "house/app", 1)
    assert made["layers"][-1]["annotations"]["com.docker.compose.file"] == "image-digests.yaml"
    _, image = manifest(registry, "walls", 1)
    source = ("-f", f"oci://{registry}/house/app:1")
    assert composer(*source, "config", "--images").out == f"{registry}/walls:1@{image}\n"
    manifest(registry, "house/app", image)  # it was copied
    indexes = glob.glob(f"{composer.folder.parent}/registry/data/**/blobs/sha256/*/*/data", recursive=True)
    found = [json.loads(open(path, "rb").read()) for path in indexes if b'"subject"' in open(path, "rb").read(4096)]
    assert [(one["subject"]["digest"], one["manifests"][0]["digest"]) for one in found] == [(digest, image)]
    composer("down", "--rmi", "all")


def test_hostile_artifacts(composer, registry):
    """Names that lead out of the folder, a wrong digest, content that is not an artifact."""
    composer.environ["XDG_CACHE_HOME"] = f"{composer.folder}/cache"

    def put(kind, annotations, artifact=f"{KINDS}project"):
        content = b"services: {a: {image: busybox}}\n"
        layer = {"mediaType": kind, "digest": upload(content), "size": len(content), "annotations": annotations}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": upload(b"{}"), "size": 2}
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact,
            "config": config,
            "layers": [layer],
        }
        send("PUT", "manifests/x", json.dumps(body).encode(), {"Content-Type": MANIFEST})

    def send(method, path, body=b"", headers=None):
        url = path if path.startswith("http") else f"http://{registry}/v2/evil/{path}"
        return urllib.request.urlopen(urllib.request.Request(url, body, headers or {}, method=method))

    def upload(content):
        place = send("POST", "blobs/uploads/").headers["Location"]
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        send("PUT", f"{place}&digest={digest}", content, {"Content-Type": "application/octet-stream"})
        return digest

    for name in ("../x.env", "/etc/x", "..", "a\\b", ""):
        put(f"{KINDS}envfile", {"com.docker.compose.envfile": name})
        assert "invalid OCI artifact" in composer("-f", f"oci://{registry}/evil:x", "config", code=1).err
    put(f"{KINDS}file+yaml", {}, "application/x")
    assert "is not an artifact of type" in composer("-f", f"oci://{registry}/evil:x", "config", code=1).err
    put("text/plain", {})
    assert "holds no compose file" in composer("-f", f"oci://{registry}/evil:x", "config", code=1).err
    assert not list((composer.folder / "cache").glob("composer/oci/*"))


def test_a_lock_holds_the_digest(stack, registry):
    stack("publish", "--with-env", f"{registry}/stack:1")
    source = ("-f", f"oci://{registry}/stack:1")
    stack(*source, "lock")
    stack.write({"parts/town.env": "TOWN=Metz\n"})("publish", "--with-env", f"{registry}/stack:1")
    done = stack(*source, "up", "--locked", "--yes")
    assert "TOWN=Trier" in done.out and "TOWN=Metz" not in done.out
    assert "TOWN=Metz" in stack(*source, "up", "--yes").out
    stack(*source, "down")
    done = stack("-f", f"oci://{registry}/other:1", "up", "--locked", code=1)
    assert "composer.lock has no entry" in done.err
    for wrong in ("sha256:12", "../../x"):
        assert "is not a digest" in stack("-f", f"oci://{registry}/stack@{wrong}", "config", code=1).err
