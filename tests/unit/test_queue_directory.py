"""Where the embedded default writes: the order, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from faena.errors import InvalidSettings
from faena.queue_directory import (
    Candidate,
    candidates,
    choose_queue_directory,
    prepare_named_directory,
)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A place where no directory can be made, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "queue"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_order_is_the_one_of_seed_004(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somebody")
    assert [str(candidate.path) for candidate in candidates()] == [
        "/var/lib/coati/queue",
        "/somebody/.local/share/coati-payroll/queue",
        str(tmp_path / ".coati_queue"),
        "/tmp/coati_queue",
    ]
    assert [candidate.temporary for candidate in candidates()] == [False, False, False, True]


def test_the_first_that_can_be_made_is_taken_and_closed_to_others(tmp_path: Path, blocked: Path) -> None:
    old = os.umask(0)
    try:
        chosen = choose_queue_directory(
            [Candidate(path=blocked), Candidate(path=tmp_path / "a" / "q"), Candidate(path=tmp_path / "b")]
        )
    finally:
        os.umask(old)
    assert chosen.path == tmp_path / "a" / "q"
    assert mode_of(chosen.path) == 0o700
    assert not (tmp_path / "b").exists()
    assert chosen.notes == ()


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    assert list(choose_queue_directory([Candidate(path=tmp_path / "q")]).path.iterdir()) == []


def test_a_temporary_directory_is_told_in_the_words_of_seed_004(tmp_path: Path, blocked: Path) -> None:
    chosen = choose_queue_directory(
        [Candidate(path=blocked), Candidate(path=tmp_path / "coati_queue", own=True, temporary=True)]
    )
    assert [(note.level, note.text) for note in chosen.notes] == [
        ("error", f"Insufficient permissions for queue storage at {blocked}"),
        ("warning", f"Using temporary directory for queue storage: {tmp_path / 'coati_queue'}"),
    ]


def test_a_symbolic_link_in_a_shared_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "q").symlink_to(tmp_path / "theirs")
    with pytest.raises(InvalidSettings, match="symbolic link"):
        choose_queue_directory([Candidate(path=tmp_path / "q", own=True, temporary=True)])
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_in_a_shared_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    os.chown(tmp_path / "q", 12345, 12345)
    with pytest.raises(InvalidSettings, match="belongs to another user"):
        choose_queue_directory([Candidate(path=tmp_path / "q", own=True)])


def test_a_directory_that_others_may_write_in_a_shared_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "q").chmod(0o770)
    with pytest.raises(InvalidSettings, match="other users may write in it"):
        choose_queue_directory([Candidate(path=tmp_path / "q", own=True)])


def test_a_service_may_share_a_directory_with_its_group_but_not_with_everybody(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.mkdir()
    path.chmod(0o770)
    assert choose_queue_directory([Candidate(path=path)]).path == path
    path.chmod(0o777)
    with pytest.raises(InvalidSettings, match="every user of this machine may write in it"):
        choose_queue_directory([Candidate(path=path)])


def test_a_temporary_directory_of_ours_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.mkdir()
    path.chmod(0o755)
    choose_queue_directory([Candidate(path=path, own=True, temporary=True)])
    assert mode_of(path) == 0o700


def test_when_none_can_be_used_all_are_named_with_their_reasons(tmp_path: Path, blocked: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        choose_queue_directory([Candidate(path=blocked), Candidate(path=tmp_path / "file")])
    told = str(caught.value)
    assert (
        f"Insufficient permissions for queue storage at {blocked} ({tmp_path / 'file'} is not a directory)"
        in told
    )
    assert (
        f"Insufficient permissions for queue storage at {tmp_path / 'file'} (it is not a directory)" in told
    )
    assert "COATI_QUEUE_PATH or FAENA_DATA_DIR" in told


def test_a_named_directory_that_everybody_may_write_is_taken_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    path.mkdir()
    path.chmod(0o777)  # as some container systems make their volumes
    taken = prepare_named_directory(path, name="FAENA_DATA_DIR")
    assert taken.path == path
    assert [note.level for note in taken.notes] == ["warning"]
    assert f"Every user of this machine may write in {path}" in str(taken.notes[0])


def test_a_named_directory_is_refused_rather_than_replaced(blocked: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"Insufficient permissions.*COATI_QUEUE_PATH names it"):
        prepare_named_directory(blocked, name="COATI_QUEUE_PATH")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir(mode=0o500)
    with pytest.raises(InvalidSettings, match="Permission denied"):
        prepare_named_directory(tmp_path / "q", name="COATI_QUEUE_PATH")
