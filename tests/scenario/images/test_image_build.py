"""`image build`: sources of contexts, and the results of a build."""

import io
import json
import secrets
import tarfile

import pytest

SCANNER = """\
#!/bin/sh
test "$(ls $BUILDKIT_SCAN_SOURCE/said)" || exit 3
touch $BUILDKIT_SCAN_SOURCE/spoiled 2> /dev/null
echo "{\\"spdxVersion\\": \\"SPDX-2.3\\", \\"name\\": \\"$BUILDKIT_SCAN_LEVEL\\"}" > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json
"""


@pytest.fixture
def name():
    return f"built-{secrets.token_hex(3)}"


@pytest.fixture
def built(composer, name):
    composer.write(Dockerfile="FROM busybox\nARG WHO\nRUN echo $WHO > /said\n")
    return composer, f"scenario/{name}:1"


def test_a_dockerfile_on_stdin_has_no_context(composer):
    image = composer("image", "build", "-q", "-", stdin="FROM scratch\nLABEL a=b\n").out.strip()
    assert composer("image", "inspect", "-f", "{{.Config.Labels.a}}", image).out == "b\n"
    composer("image", "rm", image)
    assert "stdin:2" in composer("image", "build", "-", stdin="FROM scratch\nCOPY x /\n", code=None).err
    assert "is empty" in composer("image", "build", "-", stdin="", code=None).err
    assert "stdin for both" in composer("image", "build", "-f", "-", "-", stdin="", code=1).err
    assert "stdin:1: unknown instruction" in composer("image", "build", "-", stdin="WAT\n", code=None).err


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_on_stdin(composer, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, text in (("d/Other", "FROM busybox\nCOPY file /\n"), ("file", mode)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    (composer.folder / "context.tar").write_bytes(out.getvalue())
    script = f'"$@" image build -q -f d/Other - < {composer.folder}/context.tar'
    image = run(composer, script).strip()
    composer("image", "build", "-q", "-o", "out", "-", stdin=f"FROM {image}\n")
    assert (composer.folder / "out/file").read_text() == mode
    composer("image", "rm", image)


def run(composer, script):
    import subprocess

    done = subprocess.run(["sh", "-c", script, "sh", *composer.command()], env=composer.environ, cwd=composer.folder,
                          capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    return done.stdout


def test_outputs(built):
    composer, tag = built
    before = composer("image", "ls", "-q", "--no-trunc").out
    where = ["--build-arg", "WHO=me", "-q"]
    assert composer("image", "build", *where, "-o", "out", ".").out == ""
    assert (composer.folder / "out/said").read_text() == "me\n"
    composer("image", "build", *where, "-o", "type=tar,dest=a.tar", "-o", "type=oci,dest=b.tar", "-t", tag, ".")
    assert "said" in tarfile.open(composer.folder / "a.tar").getnames()
    names = tarfile.open(composer.folder / "b.tar").getnames()
    assert "index.json" in names and "manifest.json" not in names
    composer("image", "build", *where, "-o", "type=oci,dest=layout,tar=false", ".")
    assert (composer.folder / "layout/oci-layout").exists()
    composer("image", "build", *where, "-o", "type=docker,dest=c.tar,name=other:2", ".")
    assert json.load(tarfile.open(composer.folder / "c.tar").extractfile("manifest.json"))[0]["RepoTags"] == ["other:2"]
    composer("image", "build", *where, "-o", "type=cacheonly", ".")
    # None of these is an image of the store.
    assert composer("image", "ls", "-q", "--no-trunc").out == before
    loaded = composer("image", "load", "-i", "b.tar").out
    assert tag in loaded
    composer("image", "rm", tag)


@pytest.mark.parametrize(("words", "said"), [
    (("-o", "type=foo"), 'exporter "foo" could not be found'),
    (("-o", "type=local"), "dest is required for local exporter"),
    (("-o", "type=local,dest=x,mode=1"), "mode is not supported for type=local"),
    (("-o", "type=oci,dest=x,compression=lz4"), "compression=lz4 is not supported"),
    (("-o", "-", "-o", "type=tar"), "only one output can go to stdout"),
    (("--push",), "tag is needed when pushing to registry"),
    (("--annotation", "a"), 'invalid annotation "a", expected key=value'),
    (("--annotation", "wat:a=b"), "unknown level 'wat'"),
    (("--allow", "wat"), "unknown entitlement wat"),
    (("--build-context", "Big=."), "invalid context name Big"),
    (("--build-context", "more"), "invalid context value: more, expected key=value"),
    (("--call", "wat"), "unsupported --call 'wat'"),
    (("--provenance", "mode=wat"), "provenance: invalid mode 'wat'"),
    (("--attest", "type=wat"), "--attest needs type=provenance or type=sbom"),
    (("--progress", "wat"), 'unsupported --progress value "wat"'),
    (("--memory", "wat"), 'invalid argument "wat" for "--memory" flag'),
    (("--sbom", "generator=/bin/false"), "/bin/false failed with exit code 1"),
    (("--squash",), "the build cache consists of layers"),
])  # fmt: skip
def test_invalid_flags_are_reported(composer, words, said):
    composer.write(Dockerfile="FROM scratch\nLABEL a=b\n")
    before = composer("image", "ls", "-q", "--no-trunc").out
    done = composer("image", "build", *words, ".", code=None)
    assert done.code and said in done.err and "Traceback" not in done.err
    assert composer("image", "ls", "-q", "--no-trunc").out == before


def test_outline_of_a_dockerfile(composer):
    composer.write(Dockerfile="ARG V=1\n# web serves\nFROM scratch AS web\nARG V\nRUN --mount=type=ssh,required true\n")
    assert composer("image", "build", "--call", "targets", ".").out == (
        "TARGET        DESCRIPTION\nweb (default) serves\n"
    )
    outline = composer("image", "build", "--call", "outline", "--build-arg", "V=2", ".").out
    assert outline == (
        "TARGET:      web\nDESCRIPTION: serves\n\nBUILD ARG   VALUE   DESCRIPTION\nV           2       \n\n"
        "SSH       REQUIRED\ndefault   true\n\n"
    )
    found = json.loads(composer("image", "build", "--call", "outline,format=json", ".").out)
    assert [one["name"] for one in found["args"]] == ["V"]


def test_metadata_and_id(built):
    composer, tag = built
    composer("image", "build", "-t", tag, "--metadata-file", "m", "--iidfile", "i", "--provenance=mode=min", ".")
    image = composer("image", "inspect", "-f", "{{.Id}}", tag).out.strip()
    found = json.loads((composer.folder / "m").read_text())
    assert (composer.folder / "i").read_text() == found["containerimage.digest"] == image
    assert found["image.name"] == f"docker.io/{tag}"
    how = found["buildx.build.provenance"]["buildDefinition"]
    assert "busybox" in how["resolvedDependencies"][0]["uri"]
    assert "args" not in how["externalParameters"]["request"]
    composer("image", "rm", tag)


def test_records_of_builds(built):
    composer, tag = built
    composer("image", "build", "-q", "-t", tag, "--metadata-file", "m", "--build-arg", "WHO=me", ".")
    found = json.loads((composer.folder / "m").read_text())
    how = found["buildx.build.provenance"]
    assert how["invocation"]["parameters"]["args"] == {"build-arg:WHO": "me"}
    assert "metadata" not in how
    ref = found["buildx.build.ref"].rpartition("/")[2]
    composer.write(Dockerfile="FROM busybox\nRUN echo lost; exit 3\n")
    composer("image", "build", ".", code=None)
    rows = composer("builder", "history", "ls").out.splitlines()
    assert rows[0].split()[:2] == ["BUILD", "ID"]
    assert "Error" in rows[1]
    assert rows[2].startswith(ref)
    assert [
        row.split()[0] for row in composer("builder", "history", "ls", "--filter", "status=error").out.splitlines()[1:]
    ]
    assert f"Ref:         {ref}\n" in composer("builder", "history", "inspect", "^1").out
    failed = json.loads(composer("builder", "history", "inspect", "--format", "json").out)
    assert (failed["Status"], failed["NumCompletedSteps"]) == ("error", 1)
    assert " lost\n" in composer("builder", "history", "logs").out
    composer("builder", "history", "rm", ref)
    assert f'no record found for ref "{ref}"' in composer("builder", "history", "logs", ref, code=1).err
    composer("image", "rm", tag)


def test_images_as_a_tree(composer, name):
    composer.write(Dockerfile="FROM scratch\nCOPY Dockerfile /\n")
    tags = (f"tree/{name}:1", f"tree/{name}:2")
    platforms = ("--platform", "linux/amd64,linux/arm64")
    composer("image", "build", "-q", *platforms, "-t", tags[0], "-t", tags[1], ".")
    rows = [line.split() for line in composer("image", "ls", "--tree", f"tree/{name}").out.splitlines()]
    assert rows[0] == ["Info", "->", "U", "In", "Use"]
    assert rows[3] == [tags[0]]
    assert [row[0] for row in rows[4:]] == [tags[1], "├─", "└─"]
    assert [row[1] for row in rows[5:]] == ["linux/amd64", "linux/arm64"]
    assert "not yet supported with --tree" in composer("image", "ls", "--tree", "-q", code=1).err
    composer("image", "rm", *tags)


def test_the_provenance_of_each_platform(composer):
    composer.write(Dockerfile="FROM scratch\nCOPY Dockerfile /\n")
    composer.environ["BUILDX_METADATA_PROVENANCE"] = "max"
    flags = ("-q", "-o", "type=oci,dest=o", "--metadata-file", "m")
    composer("image", "build", *flags, "--platform", "linux/amd64,linux/arm64", ".")
    found = json.loads((composer.folder / "m").read_text())
    keys = [f"buildx.build.provenance/linux/{name}" for name in ("amd64", "arm64")]
    assert all("buildConfig" in found[key] for key in keys)
    composer.environ["BUILDX_METADATA_PROVENANCE"] = "some"
    refused = composer("image", "build", *flags, ".", code=1).err
    assert refused == "BUILDX_METADATA_PROVENANCE=some: expected min, max or disabled\n"  # and nothing was built
    composer.environ["BUILDX_METADATA_PROVENANCE"] = "disabled"
    composer("image", "build", *flags, ".")
    assert not any("provenance" in key for key in json.loads((composer.folder / "m").read_text()))


def test_a_step_has_limits(composer):
    text = "FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=300M count=1\n"
    done = composer("image", "build", "--memory", "32m", "-", stdin=text, code=None)
    assert "exit code: 137" in done.err
    assert "the limit of its memory is 32 MiB" in done.err


@pytest.mark.parametrize("scanner", ["image", "program"])
def test_attestations(built, scanner):
    composer, tag = built
    composer.write({"scan": SCANNER, "Scanner": 'FROM busybox\nCOPY scan /\nUSER 5\nENTRYPOINT ["/scan"]\n'})
    (composer.folder / "scan").chmod(0o755)
    if scanner == "image":
        composer("image", "build", "-q", "-f", "Scanner", "-t", f"{tag}-scan", ".")
    generator = f"{tag}-scan" if scanner == "image" else "./scan"
    composer("image", "build", "-t", tag, "--build-arg", "WHO=me", "--provenance=version=v0.2", "--annotation",
             "a=b", "--attest", f"type=sbom,generator={generator},LEVEL=7", ".")  # fmt: skip
    extras = json.loads(composer("image", "inspect", tag).out)[0]
    assert extras["Annotations"] == {"a": "b"}
    sbom, how = extras["Attestations"]
    assert sbom == {"PredicateType": "https://spdx.dev/Document", "Predicate": {"spdxVersion": "SPDX-2.3", "name": "7"}}
    assert how["PredicateType"] == "https://slsa.dev/provenance/v0.2"
    assert how["Predicate"]["invocation"]["parameters"]["args"] == {"build-arg:WHO": "me"}
    # They accompany the image.
    composer("image", "save", "-o", "saved.tar", tag)
    composer("image", "rm", tag)
    composer("image", "load", "-i", "saved.tar")
    assert json.loads(composer("image", "inspect", tag).out)[0]["Attestations"] == [sbom, how]
    # The same image, built without them, has none.
    composer("image", "build", "-t", tag, "--build-arg", "WHO=me", ".")
    assert "Attestations" not in json.loads(composer("image", "inspect", tag).out)[0]
    composer("image", "rm", tag, *([f"{tag}-scan"] if scanner == "image" else []))


def test_a_service_with_attestations(composer, name):
    composer.write(
        compose=f"services: {{web: {{image: 'scenario/{name}', build: {{context: ., provenance: mode=min}}}}}}\n",
        Dockerfile="FROM busybox\nRUN echo me > /said\n",
    )
    composer("build")
    (how,) = json.loads(composer("image", "inspect", f"scenario/{name}").out)[0]["Attestations"]
    assert how["PredicateType"] == "https://slsa.dev/provenance/v1"
    composer("build", "--provenance=false")
    assert "Attestations" not in json.loads(composer("image", "inspect", f"scenario/{name}").out)[0]
    composer("image", "rm", f"scenario/{name}")
