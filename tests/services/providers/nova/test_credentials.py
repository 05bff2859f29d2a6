"""The sources of AWS credentials, and that each connection uses the current ones."""

from __future__ import annotations

import pathlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.credentials import Credentials as TheirCredentials
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from bargein.services.providers.nova import Credentials
from bargein.services.providers.nova._credentials import credentials_provider, find_region
from bargein.services.sockets import SocketRefusedError

WHO = Credentials(access_key="AKID", secret_key="secret", token="token")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """A machine on which AWS's tools find nothing; gives the folder for what they should."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


async def test_credentials_from_arguments() -> None:
    """Credentials that are passed are used unchanged."""
    assert await credentials_provider(WHO)() is WHO


@pytest.mark.parametrize("kind", ["async", "plain", "botocore's", "frozen"])
async def test_function_is_called_for_each_connection(kind: str) -> None:
    """The function may return any accepted form, and may be async."""
    keys = iter(["one", "two"])

    def plain() -> Any:
        key = next(keys)
        make = {"botocore's": TheirCredentials, "frozen": ReadOnlyCredentials}.get(kind)
        return make(key, "secret", None) if make else Credentials(access_key=key, secret_key="secret")

    async def waiting() -> Any:
        return plain()

    fetch = credentials_provider(waiting if kind == "async" else plain)
    assert [(await fetch()).access_key for _ in range(2)] == ["one", "two"]


async def test_renewing_credentials() -> None:
    """Each connection uses the current credentials, with their token."""
    count = 0

    def refresh() -> dict[str, str]:
        nonlocal count
        count += 1
        expires = datetime.now(UTC) + timedelta(seconds=1)  # which botocore takes for the time to renew them
        return {
            "access_key": f"AKID{count}",
            "secret_key": "s",
            "token": f"t{count}",
            "expiry_time": expires.isoformat(),
        }

    theirs = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
    fetch = credentials_provider(theirs)
    first, second = await fetch(), await fetch()
    assert first.access_key != second.access_key
    assert second.token == f"t{second.access_key[4:]}"


async def test_credentials_from_environment(nowhere: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore reads the environment first."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
    found = await credentials_provider(None)()
    assert (found.access_key, found.secret_key, found.token) == ("AKIDENV", "s", "t")


async def test_credentials_from_files(nowhere: pathlib.Path) -> None:
    """Each profile has its keys and its region."""
    (nowhere / "credentials").write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s\n")
    (nowhere / "config").write_text("[profile work]\nregion = eu-north-1\n")
    assert (await credentials_provider(None, "work")()).access_key == "AKIDWORK"
    assert find_region("work") == "eu-north-1"
    assert find_region() is None


async def test_missing_credentials(nowhere: pathlib.Path) -> None:
    """No credentials at all is final. A missing profile and a failing function may be mended, so they are not."""
    with pytest.raises(SocketRefusedError, match="where botocore looks") as told:
        await credentials_provider(None)()
    assert told.value.final
    with pytest.raises(SocketRefusedError, match=r"ProfileNotFound: .*\(play\)") as told:
        await credentials_provider(None, "play")()
    assert not told.value.final

    def broken() -> Any:
        raise OSError("the vault is closed")

    with pytest.raises(SocketRefusedError, match="OSError: the vault is closed"):
        await credentials_provider(broken)()
    with pytest.raises(SocketRefusedError, match="got dict, where Credentials were expected"):
        await credentials_provider(dict)()


def test_wrong_source_is_refused() -> None:
    """A wrong type is refused at once, and the error does not repeat the value."""
    with pytest.raises(TypeError, match="got tuple; expected Credentials"):
        credentials_provider(("AKID", "secret"))  # type: ignore[arg-type]
