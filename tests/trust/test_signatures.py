"""Images of a real registry, signed as by cosign: which are pulled, which are refused, and why."""

import datetime
import os

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from engine import registry
from engine.errors import ImageRefused, InvalidSpec
from engine.image import gc
from engine.trust import gate
from engine.trust.policy import signature_rule
from tests.trust import signer
from tests.trust.signer import Fulcio, Key

SUBJECT, ISSUER = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1", "https://token.example"


def refused(name, images):
    with pytest.raises(ImageRefused) as caught:
        registry.pull(name, images=images)
    assert images.all() == [] and images.blobs.names() == []
    return str(caught.value)


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_signed_by_a_key(image, other_images, policy, tmp_path, private):
    name, digest = image
    key = Key(private)
    (tmp_path / "release.pub").write_bytes(key.pem)
    policy('[[rule]]\nimages = ["localhost:5005/**"]\nrequire = "signature"\nkeys = ["release.pub"]\n')
    signer.sign(name, digest, key)
    assert registry.pull(name, images=other_images).tags == (name,)
    ((rule, who),) = gate.admit(other_images, name)
    assert who == f"{tmp_path}/release.pub"
    assert rule.place.endswith("policy.toml, rule 1")


@pytest.mark.usefixtures("keyed")
def test_unsigned(image, other_images):
    text = refused(image[0], other_images)
    assert text.startswith(f"image {image[0]} ({image[1]}) is refused by ")
    assert text.endswith("policy.toml, rule 1: it is not signed")


def test_a_missing_key_is_named(image, other_images, policy, tmp_path):
    policy('[[rule]]\nimages = ["localhost:5005/**"]\nrequire = "signature"\nkeys = ["lost.pub"]\n')
    with pytest.raises(InvalidSpec, match=f"cannot read the key {tmp_path}/lost.pub: No such file or directory"):
        registry.pull(image[0], images=other_images)


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("key", "the signature was made with none of the rule's keys"),
        ("digest", f"the signature is for sha256:{'0' * 64}"),
        ("tampered", "the signature was made with none of the rule's keys"),
        ("type", "the signature is malformed: its type is 'something else'"),
        ("garbage", "the signature is malformed"),
        ("base64", "the signature is malformed"),
    ],
)
def test_wrongly_signed(image, other_images, key, wrong, why):
    name, digest = image
    content = signer.payload(digest)
    if wrong == "key":
        signer.sign(name, digest, Key())
    elif wrong == "digest":
        signer.sign(name, digest, key, content=signer.payload("sha256:" + "0" * 64))
    elif wrong == "tampered":
        other = signer.payload("sha256:" + "0" * 64)
        signer.put_simple(name, digest, content, key.sign(other))
    elif wrong == "type":
        signer.sign(name, digest, key, content=signer.payload(digest, kind="something else"))
    elif wrong == "garbage":
        signer.sign(name, digest, key, content=b"[]")
    else:
        layer = (signer.SIMPLE, content, {"dev.cosignproject.cosign/signature": "!!"})
        signer.put(name, [layer], tag=digest.replace(":", "-") + ".sig")
    assert why in refused(name, other_images)


@pytest.mark.usefixtures("keyed")
def test_one_good_signature_among_bad_ones(image, other_images, key):
    name, digest = image
    content = signer.payload(digest)
    layers = [
        (signer.SIMPLE, content, {"dev.cosignproject.cosign/signature": signer.b64(one.sign(content))})
        for one in (Key(), key)
    ]
    signer.put(name, layers, tag=digest.replace(":", "-") + ".sig")
    assert registry.pull(name, images=other_images)


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("form", ["simple", "bundle"])
def test_signatures_among_the_referrers(image, other_images, key, form):
    name, digest = image
    if form == "simple":
        content = signer.payload(digest)
        layer = (signer.SIMPLE, content, {"dev.cosignproject.cosign/signature": signer.b64(key.sign(content))})
        signer.put(name, [layer], subject=digest, artifact_type="application/vnd.dev.cosign.artifact.sig.v1+json")
    else:
        layer = (signer.BUNDLE, signer.bundle(digest, key), {})
        signer.put(name, [layer], subject=digest, artifact_type=signer.BUNDLE)
    assert registry.pull(name, images=other_images)


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"predicate": "https://slsa.dev/provenance/v1"}, "an attestation of https://slsa.dev/provenance/v1"),
        ({"content": signer.statement("sha256:" + "0" * 64)}, "is for sha256:0000"),
        ({"content": b"{}"}, "malformed"),
    ],
)
def test_bundles_that_sign_something_else(image, other_images, key, changes, why):
    name, digest = image
    layer = (signer.BUNDLE, signer.bundle(digest, key, **changes), {})
    signer.put(name, [layer], subject=digest, artifact_type=signer.BUNDLE)
    assert why in refused(name, other_images)


@pytest.mark.usefixtures("keyed")
def test_an_image_that_is_there_already(image, other_images, key, monkeypatch):
    name, digest = image
    policy_path = os.environ.pop("COMPOSER_POLICY")
    registry.pull(name, images=other_images)
    assert gate.admit(other_images, name) == []
    monkeypatch.setenv("COMPOSER_POLICY", policy_path)
    with pytest.raises(ImageRefused, match="it is not signed"):
        gate.admit(other_images, name)
    signer.sign(name, digest, key)
    assert gate.admit(other_images, name)
    # Another name does not refer to its registry; by its id it is still the signed image.
    other_images.tag(name, "localhost:5005/other/app:1")
    with pytest.raises(ImageRefused, match="was not pulled from its registry, so it has no signature"):
        gate.admit(other_images, "localhost:5005/other/app:1")
    assert gate.admit(other_images, other_images.need(name).id)


@pytest.mark.usefixtures("keyed")
def test_a_drifted_tag(image, images, other_images, key, make):
    """Another image was pushed to the signed tag; and the tag here was given to another image."""
    name, digest = image
    signer.sign(name, digest, key)
    registry.pull(name, images=other_images)
    make(images, name, b=b"2")
    registry.push(name, images=images)
    with pytest.raises(ImageRefused, match="it is not signed"):
        registry.pull(name, images=other_images)
    assert gate.admit(other_images, name)
    make(other_images, name, c=b"3")
    with pytest.raises(ImageRefused, match="was not pulled from its registry"):
        gate.admit(other_images, name)


@pytest.mark.usefixtures("keyed")
def test_verified_image_is_verified_offline(image, other_images, key, monkeypatch, tmp_path):
    name, digest = image
    signer.sign(name, digest, key)
    registry.pull(name, images=other_images)

    def offline(*_):
        raise AssertionError("the registry was asked")

    monkeypatch.setattr("engine.registry.client.Client.manifest", offline)
    assert gate.admit(other_images, name)
    (tmp_path / "release.pub").write_bytes(Key().pem)
    monkeypatch.undo()
    monkeypatch.setenv("COMPOSER_POLICY", str(tmp_path / "policy.toml"))
    with pytest.raises(ImageRefused, match="none of the rule's keys"):
        gate.admit(other_images, name)
    other_images.remove(name)
    gc.collect(other_images)
    assert not list((tmp_path / "other/trust").iterdir())


def test_digests(image, images, other_images, policy):
    name, digest = image
    pinned = f"{name}@{digest}"
    policy('[[rule]]\nimages = ["**"]\nrequire = "digest"\n')
    assert "it is not pinned to a digest" in refused(name, other_images)
    registry.pull(pinned, images=other_images)
    assert gate.admit(other_images, pinned)
    policy(f'[[rule]]\nimages = ["**"]\nrequire = "digest"\ndigests = ["{digest}"]\n')
    registry.pull(name, images=other_images)
    assert gate.admit(other_images, name)
    policy(f'[[rule]]\nimages = ["**"]\nrequire = "digest"\ndigests = ["sha256:{"0" * 64}"]\n')
    with pytest.raises(ImageRefused, match="the rule lists sha256:0000"):
        gate.admit(other_images, name)
    policy('default = "reject"\n')
    with pytest.raises(ImageRefused, match=r"is refused by the default of .*"):
        gate.admit(other_images, name)


# -- without keys


@pytest.fixture
def fulcio():
    return Fulcio()


@pytest.fixture
def keyless(policy, fulcio, tmp_path):
    fulcio.trusted_root(tmp_path / "trusted_root.json")
    policy(
        '[[rule]]\nimages = ["**"]\nrequire = "signature"\ntrusted_root = "trusted_root.json"\n'
        f'identities = [{{issuer = "{ISSUER}", subject_regexp = "https://github.com/acme/.*"}}]\n'
    )


def put(image, fulcio, form, *, subject=SUBJECT, issuer=ISSUER, log=None, later=0, about=None, **certificate):
    name, digest = image
    key = Key()
    leaf = fulcio.issue(key, subject, issuer, **certificate)
    pem = leaf.public_bytes(serialization.Encoding.PEM)
    moment = signer.NOW + datetime.timedelta(minutes=later)
    log = log or fulcio.rekor
    if form == "bundle":
        der = leaf.public_bytes(serialization.Encoding.DER)

        def entry(content, signature):
            return signer.log_entry(log, about or content, signature, pem, kind="dsse", moment=moment)

        layer = (signer.BUNDLE, signer.bundle(digest, key, certificate=der, entry=entry), {})
        signer.put(name, [layer], subject=digest, artifact_type=signer.BUNDLE)
        return
    content = signer.payload(digest)
    signature = key.sign(content)
    entry = signer.log_entry(log, about or content, signature, pem, moment=moment)
    notes = {"dev.sigstore.cosign/certificate": pem.decode(), "dev.sigstore.cosign/bundle": signer.annotation(*entry)}
    signer.put_simple(name, digest, content, signature, **notes)


@pytest.mark.usefixtures("keyless")
@pytest.mark.parametrize("form", ["simple", "bundle"])
def test_signed_by_an_identity(image, other_images, fulcio, form):
    put(image, fulcio, form)
    registry.pull(image[0], images=other_images)
    ((_, who),) = gate.admit(other_images, image[0])
    assert who == SUBJECT


@pytest.mark.usefixtures("keyless")
@pytest.mark.parametrize(
    ("form", "changes", "why"),
    [
        ("simple", {"subject": "https://github.com/evil/app"}, "which the rule does not list"),
        ("bundle", {"subject": "eve@example.org"}, "is by eve@example.org (issuer https://token.example), which"),
        ("simple", {"issuer": "https://other.example"}, "which the rule does not list"),
        ("bundle", {"log": Key()}, "is in no transparency log of the trusted root"),
        ("simple", {"later": 60}, "outside the validity of its certificate"),
        ("bundle", {"about": b"another payload"}, "has a log entry for another signature"),
        ("simple", {"about": b"another payload"}, "has a log entry for another signature"),
        ("simple", {"logged": False}, "has a certificate that is in no log of the trusted root"),
        ("bundle", {"usage": ExtendedKeyUsageOID.SERVER_AUTH}, "has a certificate that is not for signing code"),
    ],
)
def test_identities_that_are_refused(image, other_images, fulcio, form, changes, why):
    put(image, fulcio, form, **changes)
    assert why in refused(image[0], other_images)


@pytest.mark.usefixtures("keyless")
def test_unknown_authority_is_refused(image, other_images, fulcio):
    other = Fulcio()
    other.rekor, other.ctlog = fulcio.rekor, fulcio.ctlog
    put(image, other, "simple")
    assert "has a certificate that no authority of the trusted root issued" in refused(image[0], other_images)


def test_a_key_with_a_log(image, other_images, key, fulcio, policy, tmp_path):
    fulcio.trusted_root(tmp_path / "root.json")
    policy('[[rule]]\nimages = ["**"]\nrequire = "signature"\nkeys = ["release.pub"]\ntrusted_root = "root.json"\n')
    name, digest = image
    signer.sign(name, digest, key)
    assert "has no transparency log entry" in refused(name, other_images)
    content = signer.payload(digest)
    signature = key.sign(content)
    entry = signer.log_entry(fulcio.rekor, content, signature, key.pem)
    signer.put_simple(name, digest, content, signature, **{"dev.sigstore.cosign/bundle": signer.annotation(*entry)})
    assert registry.pull(name, images=other_images)


def test_verify_by_flags(image, images, other_images, key, tmp_path):
    name, digest = image
    rule = signature_rule([str(tmp_path / "release.pub")], "", "", "")
    with pytest.raises(ImageRefused, match="is refused by the flags: it is not signed"):
        gate.verify(other_images, name, rule)
    signer.sign(name, digest, key)
    assert gate.verify(other_images, name, rule) == str(tmp_path / "release.pub")
    assert gate.verify(images, name, rule) == str(tmp_path / "release.pub")
