"""Pickles in a journal, for who has asked for them: signed with a key of this user's.

To unpickle is to run code, so nothing is unpickled whose signature (HMAC-SHA256) was not made with the key in
``$XDG_STATE_HOME/pocketflex/journal.key`` (else ``~/.local/state``), a file of mode 0600. The signature covers the
journal and the place of a result in it as well: a signed pickle of elsewhere does not pass.
"""

from __future__ import annotations

import errno
import hmac
import os
import pickle
from pathlib import Path
from typing import Any

from ..errors import JournalError
from .logfile import open_own

MAC_NBYTES = 32
_KEY_NBYTES = 32


class Signer:
    """Pickles with signatures, for one journal."""

    def __init__(self, nonce: bytes) -> None:
        """Read the user's key; make it where there is none.

        Raises:
            JournalError: It can be read by others, or not at all.
        """
        self._nonce = nonce
        self._key = read_key()

    def dump(self, place: bytes, value: Any) -> bytes:
        """Signature and pickle of a value.

        Raises:
            Exception: Whatever pickling it raises.
        """
        data = pickle.dumps(value, protocol=5)
        return self._sign(place, data) + data

    def check(self, place: bytes, signed: bytes) -> bool:
        """Whether this user has signed this, for this place."""
        return hmac.compare_digest(signed[:MAC_NBYTES], self._sign(place, signed[MAC_NBYTES:]))

    def load(self, place: bytes, signed: bytes) -> Any:
        """The value that `dump` was given.

        Raises:
            JournalError: Somebody else has signed it; nothing was unpickled.
            Exception: Whatever unpickling it raises.
        """
        if not self.check(place, signed):
            raise JournalError("the signature of a pickle is not this user's")
        return pickle.loads(memoryview(signed)[MAC_NBYTES:])

    def _sign(self, place: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, self._nonce + place + data, "sha256")


def read_key() -> bytes:
    """The user's key, made at its first use."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pocketflex"
    path = folder / "journal.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
    except OSError as error:
        raise JournalError(f"{path}: the key that signs pickles cannot be made: {error.strerror}") from None
    fd = open_own(str(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, allowed=0o600)
    try:
        key = os.read(fd, _KEY_NBYTES + 1)
    finally:
        os.close(fd)
    if len(key) != _KEY_NBYTES:
        raise JournalError(f"{path} is not a key: delete it; pickles that it has signed are then of no more use")
    return key


def _make_key(path: Path) -> None:
    """Make the key; all at once, as another process may be about to make it as well."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, os.urandom(_KEY_NBYTES))
        os.fsync(fd)
        os.link(draft, path)
    except OSError as error:
        if error.errno != errno.EEXIST:  # else the other was first, and its key is the one
            raise
    finally:
        os.close(fd)
        draft.unlink()
