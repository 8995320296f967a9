"""The two builders of a case: Composer's own, in this process, and a Docker Engine's BuildKit."""

import io
import json
import os
import subprocess
import tarfile

from engine.build import build
from engine.errors import EngineError
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.image.merged import merged
from engine.paths import Roots
from engine.spec.image import BuildSpec, ImageConfig
from engine.store import Store
from tests.parity.build import observe
from tests.parity.build.world import BASE, base_tar


class Composer:
    """Builds into a store below `folder`; `run` runs the steps."""

    def __init__(self, folder, run_for):
        self.roots = Roots(f"{folder}/state", f"{folder}/run")
        self.images = ImageStore(Store(self.roots))
        record = import_rootfs(
            self.images, io.BytesIO(base_tar()), tags=[BASE], config=ImageConfig(command=("/bin/sh",))
        )
        self.base = self._tree(record)
        self.run = run_for(self.roots)
        self.message = ""

    def close(self):
        self.images.store.close()

    def __call__(self, case, context):
        spec = BuildSpec(context=str(context), network="none", **case.options(context))
        umask = os.umask(0o077)  # it must not matter
        try:
            record = build(spec, images=self.images, run=self.run)
        except EngineError as error:
            self.message = str(error)
            return {"status": 1}
        finally:
            os.umask(umask)
        self.message = ""
        file = self.images.blobs.read(record.id)
        return observe.answer(file, self._tree(record), self.base)

    def _tree(self, record):
        folders = [self.images.layers.path(folder) for folder in record.layers]
        if not folders:
            return {}
        with merged(folders) as root:
            return observe.walk(root)


class Docker:
    """Builds with `docker build` beside the Docker Engine at `host`."""

    def __init__(self, host):
        self.environ = {
            **os.environ,
            "DOCKER_HOST": host,
            "DOCKER_BUILDKIT": "1",
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }
        self.message = ""
        self._docker("import", "--change", 'CMD ["/bin/sh"]', "-", BASE, input=base_tar())
        self.base = self._saved(BASE)[1]

    def _docker(self, *args, **options):
        return subprocess.run(["docker", *args], env=self.environ, capture_output=True, check=True, **options).stdout

    def __call__(self, case, context):
        options = case.options(context)
        flags = [f"--build-arg={name}={value}" for name, value in options.get("args", {}).items()]
        flags += [f"--target={options['target']}"] if "target" in options else []
        flags += [f"--label={name}={value}" for name, value in options.get("labels", {}).items()]
        flags += [f"--build-context={name}={value}" for name, value in options.get("additional_contexts", {}).items()]
        done = subprocess.run(
            ["docker", "build", "--network=none", "-q", *flags, str(context)],
            env=self.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.message = done.stderr
        if done.returncode:
            return {"status": 1}
        name = done.stdout.strip()
        try:
            file, tree = self._saved(name) if self._layers(name) else (self._described(name), {})
        finally:
            self._docker("rmi", "-f", name)
        return observe.answer(file, tree, self.base)

    def _layers(self, name):
        return json.loads(self._docker("image", "inspect", name))[0]["RootFS"].get("Layers")

    def _described(self, name):
        """The configuration blob of an image without layers, which Docker cannot save."""
        (found,) = json.loads(self._docker("image", "inspect", name))
        lines = self._docker("history", "--no-trunc", "--format", "json", name).decode().splitlines()
        history = [{"created_by": one["CreatedBy"], "comment": one["Comment"], "empty_layer": True}
                   for one in map(json.loads, reversed(lines))]  # fmt: skip
        config = {name: value for name, value in found["Config"].items() if value is not None}
        return json.dumps({"config": config, "author": found["Author"], "history": history, "rootfs": {"diff_ids": []}})

    def _saved(self, name):
        with tarfile.open(fileobj=io.BytesIO(self._docker("save", name))) as tar:
            (manifest,) = json.load(tar.extractfile("manifest.json"))
            layers = [tar.extractfile(layer).read() for layer in manifest["Layers"]]
            return tar.extractfile(manifest["Config"]).read(), observe.apply_layers(layers)
