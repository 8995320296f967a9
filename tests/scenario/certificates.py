"""Certificates for servers and clients of the tests, created by openssl-req(1)."""

import subprocess

COMMAND = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split()


def make(folder, name, *more):
    """The paths of NAME.pem and NAME.key in the folder; self-signed, unless `more` options name an issuer."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    files = ["-keyout", key, "-out", certificate, "-subj", f"/CN={name}"]
    subprocess.run([*COMMAND, *files, *more], check=True, capture_output=True)
    return str(certificate), str(key)
