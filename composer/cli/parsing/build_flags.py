"""The flags by which docker builds an image (`docker build`)."""

from __future__ import annotations

from composer.cli.parsing.flags import Flag

BUILD = (
    Flag("add-host", "Add a custom host-to-IP mapping (host:ip)", "strings"),
    Flag("allow", "Allow extra privileged entitlement", "strings"),
    Flag("build-arg", "Set build-time variables: NAME=VALUE, or NAME to pass on the caller's value", "strings"),
    Flag("build-context", "Additional build contexts: NAME=PATH", "strings"),
    Flag("check", "Check the Dockerfile without building"),
    Flag("file", 'Name of the Dockerfile (default: "PATH/Dockerfile"); - for stdin', "string", short="f"),
    Flag("iidfile", "Write the image ID to a file", "string"),
    Flag("label", "Set metadata for an image", "strings"),
    Flag("network", 'Networking of the "RUN" instructions during build', "string"),
    Flag("no-cache", "Do not use cache when building the image"),
    Flag("no-cache-filter", "Do not cache specified stages", "strings"),
    Flag("platform", "Set target platform for build", "strings"),
    Flag("pull", "Always attempt to pull all referenced images"),
    Flag("push", "Push the image when it is built"),
    Flag("quiet", "Suppress the build output and print image ID on success", short="q"),
    Flag("secret", "Secret to expose to the build: id=NAME[,src=PATH|,env=NAME]", "strings"),
    Flag("shm-size", "Shared memory size for build containers", "string"),
    Flag("ssh", "SSH agent socket or keys: default, or ID=SOCKET|KEY[,KEY]", "strings"),
    Flag("tag", "Name and optionally a tag", "strings", short="t"),
    Flag("target", "Set the target build stage to build", "string"),
    Flag("ulimit", "Ulimit options: NAME=SOFT[:HARD]", "strings"),
)
