"""Signs images as cosign and sigstore document it, and puts the signatures into a registry."""

import base64
import datetime
import hashlib
import json
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.image import manifest
from engine.image.blobs import digest_of
from engine.image.reference import parse
from engine.registry.client import Client

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def b64(data):
    return base64.b64encode(data).decode()


def canonical(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


class Key:
    def __init__(self, key=None):
        self.private = key or ec.generate_private_key(ec.SECP256R1())

    @property
    def der(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.DER, form)

    @property
    def pem(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, form)

    @property
    def id(self):
        return hashlib.sha256(self.der)

    def sign(self, data):
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return self.private.sign(data, ec.ECDSA(hashes.SHA256()))
        if hasattr(self.private, "key_size"):
            from cryptography.hazmat.primitives.asymmetric import padding

            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(data)


def payload(digest, name="registry.example/app", kind="cosign container image signature"):
    image = {"docker-manifest-digest": digest}
    critical = {"identity": {"docker-reference": name}, "image": image, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


def statement(digest, predicate="https://sigstore.dev/cosign/sign/v1"):
    subject = [{"digest": {"sha256": digest.removeprefix("sha256:")}}]
    return json.dumps(
        {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": predicate, "predicate": {}}
    ).encode()


def put(reference, layers, *, tag="", subject="", artifact_type=""):
    """Push an artifact of `layers`, (media type, content, annotations) each; by tag, or as a referrer of `subject`."""
    parsed = parse(reference)
    client = Client(parsed, "pull,push")
    config = b"{}"
    descriptors = []
    for media_type, content, annotations in ((manifest.OCI_CONFIG, config, {}), *layers):
        digest = digest_of(content)
        client.upload(digest, len(content), lambda offset, content=content: [content[offset:]])
        one = {"mediaType": media_type, "digest": digest, "size": len(content)}
        descriptors.append({**one, "annotations": annotations} if annotations else one)
    body = {"schemaVersion": 2, "mediaType": manifest.OCI_MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
    if subject:
        about = {"mediaType": manifest.OCI_MANIFEST, "digest": subject, "size": 1}
        body |= {"artifactType": artifact_type, "subject": about}
    text = json.dumps(body).encode()
    client.put_manifest(tag or digest_of(text), text, manifest.OCI_MANIFEST)
    if subject:  # as clients do for a registry without the API (distribution-spec, "Pushing Manifests with Subject")
        one = {"mediaType": manifest.OCI_MANIFEST, "digest": digest_of(text), "size": len(text)}
        index = {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_INDEX,
            "manifests": [{**one, "artifactType": artifact_type}],
        }
        client.put_manifest(subject.replace(":", "-"), json.dumps(index).encode(), manifest.OCI_INDEX)


def sign(reference, digest, key, **changes):
    """`cosign sign --key`: the tag sha256-….sig."""
    content = changes.pop("content", None) or payload(digest)
    put_simple(reference, digest, content, key.sign(content), **changes)


def put_simple(reference, digest, content, signature, **notes):
    layer = (SIMPLE, content, {"dev.cosignproject.cosign/signature": b64(signature), **notes})
    put(reference, [layer], tag=digest.replace(":", "-") + ".sig")


def log_entry(log, content, signature, signer_pem, *, kind="hashedrekord", moment=NOW):
    """Rekor's answer, as the fields of an entry."""
    digest = {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}
    if kind == "hashedrekord":
        one = {"content": b64(signature), "publicKey": {"content": b64(signer_pem)}}
        spec = {"data": {"hash": digest}, "signature": one}
    else:
        spec = {"payloadHash": digest, "signatures": [{"signature": b64(signature), "verifier": b64(signer_pem)}]}
    body = b64(json.dumps({"apiVersion": "0.0.1", "kind": kind, "spec": spec}).encode())
    entry = {"body": body, "integratedTime": int(moment.timestamp()), "logIndex": 7, "logID": log.id.hexdigest()}
    return entry, log.sign(canonical(entry))


def annotation(entry, promise):
    return json.dumps({"SignedEntryTimestamp": b64(promise), "Payload": entry})


def bundle(digest, sign_with, *, certificate=b"", entry=None, promise=b"", **changes):
    """A bundle of sigstore, version 0.3, around a DSSE envelope."""
    content = changes.pop("content", None) or statement(digest, **changes)
    kind = "application/vnd.in-toto+json"
    signature = sign_with.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(content), content))
    material = {"certificate": {"rawBytes": b64(certificate)}} if certificate else {"publicKey": {"hint": "x"}}
    entries = entry(content, signature) if entry else None
    if entries:
        one, promise = entries
        material["tlogEntries"] = [
            {
                "logIndex": str(one["logIndex"]),
                "logId": {"keyId": b64(bytes.fromhex(one["logID"]))},
                "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                "integratedTime": str(one["integratedTime"]),
                "inclusionPromise": {"signedEntryTimestamp": b64(promise)},
                "canonicalizedBody": one["body"],
            }
        ]
    envelope = {"payload": b64(content), "payloadType": kind, "signatures": [{"sig": b64(signature)}]}
    document = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(document).encode()


class Fulcio:
    """A certificate authority with its transparency logs, and the trusted root that contains them."""

    def __init__(self):
        self.root, self.intermediate, self.rekor, self.ctlog = Key(), Key(), Key(), Key()
        self.root_certificate = self._certificate("root", self.root, self.root, "root", ca=True)
        self.certificate = self._certificate("intermediate", self.intermediate, self.root, "root", ca=True)

    def _builder(self, subject, key, issuer, *, moment=NOW, days=30):
        day = datetime.timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment - day)
            .not_valid_after(moment + day)
        )

    def _certificate(self, subject, key, by, issuer, *, ca=False):
        builder = self._builder(subject, key, issuer)
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        return builder.sign(by.private, hashes.SHA256())

    def issue(self, key, subject, issuer, *, usage=ExtendedKeyUsageOID.CODE_SIGNING, moment=NOW, logged=True):
        """A certificate of ten minutes for `key`, with the log's timestamp."""
        minutes = 10 / 1440
        name = (
            x509.RFC822Name(subject) if "@" in subject and "://" not in subject
            else x509.UniformResourceIdentifier(subject)
        )  # fmt: skip
        vouched = issuer.encode()
        builder = (
            self._builder("", key, "intermediate", moment=moment, days=minutes)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(
                x509.UnrecognizedExtension(
                    x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), b"\x0c" + bytes([len(vouched)]) + vouched
                ),
                critical=False,
            )
        )
        unlogged = builder.sign(self.intermediate.private, hashes.SHA256())
        if not logged:
            return unlogged
        # RFC 6962, 3.2 and 3.3
        body = unlogged.tbs_certificate_bytes
        milliseconds = int(moment.timestamp() * 1000)
        issuer_hash = hashlib.sha256(self.intermediate.der).digest()
        entry = (
            struct.pack(">BBQH", 0, 0, milliseconds, 1) + issuer_hash + len(body).to_bytes(3, "big") + body + b"\0\0"
        )
        signature = self.ctlog.sign(entry)
        stamp = b"\0" + self.ctlog.id.digest() + struct.pack(">QH", milliseconds, 0) + b"\x04\x03"
        stamp += len(signature).to_bytes(2, "big") + signature
        listed = len(stamp).to_bytes(2, "big") + stamp
        value = len(listed).to_bytes(2, "big") + listed
        length = bytes([len(value)]) if len(value) < 128 else bytes([0x81, len(value)])
        extension = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04" + length + value
        )
        return builder.add_extension(extension, critical=False).sign(self.intermediate.private, hashes.SHA256())

    def trusted_root(self, path):
        def log(key):
            return {"publicKey": {"rawBytes": b64(key.der), "validFor": {"start": "2020-01-01T00:00:00Z"}}}

        def raw(certificate):
            return {"rawBytes": b64(certificate.public_bytes(serialization.Encoding.DER))}

        chain = {"certificates": [raw(self.certificate), raw(self.root_certificate)]}
        authority = {"certChain": chain, "validFor": {"start": "2020-01-01T00:00:00Z"}}
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.rekor)],
            "certificateAuthorities": [authority],
            "ctlogs": [log(self.ctlog)],
        }
        path.write_text(json.dumps(document))
        return str(path)
