"""The promise: a temporary directory goes with what it was for, also when Ctrl-C comes then."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

import pytest

from timeline.errors import StorageError
from timeline.storage.scratch import Scratch


def test_it_goes_when_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("of another")
    scratch = Scratch()
    scratch.show(tmp_path, "kept", "links")
    scratch.remove()
    assert not scratch.path.exists()
    assert (tmp_path / "kept").read_text() == "of another"
    scratch.remove()


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_it_goes_when_nothing_refers_to_it() -> None:
    scratch = Scratch()
    path = scratch.path
    assert path.is_dir()
    del scratch
    gc.collect()
    assert not path.exists()


def test_it_goes_though_ctrl_c_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch()
    with monkeypatch.context() as patch:

        def stop(*_: object, **__: object) -> None:
            patch.undo()
            raise KeyboardInterrupt

        patch.setattr(os, "rmdir", stop)  # by which every Python removes it in the end
        with pytest.raises(KeyboardInterrupt):
            scratch.remove()
    assert not scratch.path.exists()


def test_a_file_is_shown_as_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "one").write_text("1")
    scratch = Scratch()
    for content in ("1", "2"):
        (tmp_path / "source" / "one").write_text(content)
        folder = scratch.show(Path("source"), "one", "shown")
        assert folder.parent == scratch.path
        monkeypatch.chdir("/")
        assert (folder / "one").read_text() == content
        monkeypatch.chdir(tmp_path)
    scratch.remove()


def test_a_disk_that_takes_nothing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = Scratch()
    (scratch.path / "taken").write_text("a file")
    with pytest.raises(StorageError, match="taken cannot be written"):
        scratch.show(tmp_path, "one", "taken")
    scratch.remove()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="set TMPDIR"):
        Scratch()
