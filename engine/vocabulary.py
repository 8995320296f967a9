"""Words and values of Docker, OCI and the compose specification that several packages must write the same. Constants only, no
imports: the keeper and the fastest commands load this file.
"""

IP_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
"""The protocols of published ports and their numbers (IPPROTO_*)."""

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
"""Propagation of mounts (mount_namespaces(7)); without one, a bind mount is rprivate."""

MOUNT_TYPES = ("bind", "volume", "tmpfs", "image")
"""Types of mounts that users name; each is also the key of its options."""

TRUE_WORDS = ("1", "t", "true")
"""In options of BuildKit, in any case (strconv.ParseBool of Go)."""

RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")

PREDEFINED_NETWORKS = ("bridge", "host", "none")
"""Docker's networks, which cannot be created or removed; a container selects one by its network mode."""
WITHOUT_NETWORKS = ("host", "none")
"""Network modes of containers that are connected to no network."""

DNS_ADDRESS = "127.0.0.11"
"""Where a container reaches our DNS server."""
HOST_GATEWAY = "host-gateway"
"""In extra_hosts: the gateway of the container's first network."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH in containers whose image sets none."""
DEFAULT_SHM_SIZE = 64 << 20
"""Bytes of /dev/shm."""

DIGEST = "sha256:[0-9a-f]{64}"
"""Regular expression: the digest of a blob, and the id of an image."""
COMMIT = "[0-9a-f]{40}|[0-9a-f]{64}"
"""Regular expression: a Git commit's full id."""

DOCKER_HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"
"""The host that serves docker.io."""
HUB_HOSTS = (DOCKER_HUB, "index.docker.io", HUB_HOST)
"""Names of the host in references and credentials."""
HUB_SERVER = "https://index.docker.io/v1/"
"""The name of docker.io among the docker client's credentials."""

STATEMENT_TYPE = "application/vnd.in-toto+json"
"""The media type of attestations."""
PREDICATE_TYPE = "in-toto.io/predicate-type"
"""The annotation of an attestation's layer."""
