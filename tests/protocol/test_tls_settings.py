"""TLS files: errors name the configuration key and the reason, and nothing prompts for a passphrase."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import typing as t

import pytest

from flask_wamp.exceptions import TransportError
from flask_wamp.transports.streams import open_stream
from flask_wamp.transports.tls_settings import TLSSettings
from flask_wamp.transports.urls import parse_router_url
from tests.support.sockets import Impostor

pytest.importorskip("cryptography")

from tests.support.certificates import Authority


class Files(t.NamedTuple):
    ca: pathlib.Path
    cert: pathlib.Path
    key: pathlib.Path
    encrypted: pathlib.Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    from cryptography.hazmat.primitives import serialization

    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    cert, key = map(pathlib.Path, authority.issue("client"))
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted = folder / "encrypted.pem"
    encrypted.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    return Files(pathlib.Path(authority.path), cert, key, encrypted)


def test_paths_are_accepted_as_strings_and_as_paths(files: Files) -> None:
    TLSSettings(files.ca, files.cert, files.key).context()
    TLSSettings(str(files.ca), str(files.cert), str(files.key)).context()


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
@pytest.mark.parametrize("why", ["No such file", "Is a directory"])
def test_the_error_names_a_file_that_cannot_be_read(files: Files, name: str, why: str) -> None:
    bad = files.ca.parent / "missing.pem" if why == "No such file" else files.ca.parent
    settings = TLSSettings(files.ca, files.cert, files.key)._replace(**{name: bad})
    with pytest.raises(ValueError, match=f"WAMP_TLS_{name.upper()} '{bad}': {why}"):
        settings.context()


def test_a_key_without_a_certificate_is_refused(files: Files) -> None:
    with pytest.raises(ValueError, match="WAMP_TLS_KEY needs WAMP_TLS_CERT"):
        TLSSettings(key=files.key).context()


def test_the_error_names_a_file_that_is_not_pem(files: Files) -> None:
    text = pathlib.Path(__file__)
    with pytest.raises(ValueError, match="WAMP_TLS_CA '.*test_tls_settings"):
        TLSSettings(ca=text).context()
    with pytest.raises(
        ValueError, match="WAMP_TLS_CERT '.*' with WAMP_TLS_KEY '.*test_tls_settings"
    ):
        TLSSettings(files.ca, files.cert, text).context()


def test_an_encrypted_key_never_prompts_for_its_passphrase(files: Files) -> None:
    """This runs in a process with a terminal, where OpenSSL would prompt and wait."""
    lines = f"""
        from flask_wamp.transports.tls_settings import TLSSettings
        TLSSettings({str(files.ca)!r}, {str(files.cert)!r}, {str(files.encrypted)!r}).context()
    """
    code = "\n".join(line.strip() for line in lines.splitlines())
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input="pass\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert f"ValueError: WAMP_TLS_KEY '{files.encrypted}': the key is encrypted" in ended.stderr
    assert "phrase" not in ended.stdout


def test_a_file_that_is_removed_later_is_an_error_of_the_connection(files: Files) -> None:
    settings = TLSSettings(files.ca.parent / "removed.pem")
    with Impostor(b"") as server:
        url = parse_router_url(f"tls://127.0.0.1:{server.port}")
        with pytest.raises(TransportError, match="WAMP_TLS_CA '.*removed.pem': No such file"):
            open_stream(url, settings, 1e9)
