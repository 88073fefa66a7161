"""Settings: which source wins, and how faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from faena.errors import InvalidSettings
from faena.settings import Settings, env_name


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty directory and an environment without a setting."""
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.delenv("FAENA_CONFIG", raising=False)


def faults_of(**flags: object) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(**flags)
    return caught.value.faults


def test_nothing_said_gives_the_defaults_of_the_seeds() -> None:
    settings = Settings.load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.result_ttl, settings.failure_ttl) == (3600, 86400)
    assert (settings.task_timeout, settings.idemp_margin) == (600, 300)
    assert settings.queue_enabled
    assert (settings.store, settings.engine) == ("auto", "auto")


def test_each_source_wins_over_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("faena.toml").write_text("port = 1\nthreads = 1\nlease = 1\ngrace = 1\n")
    Path(".env").write_text("FAENA_THREADS=2\nFAENA_LEASE=2\nFAENA_GRACE=2\n")
    monkeypatch.setenv("FAENA_LEASE", "3")
    monkeypatch.setenv("FAENA_GRACE", "3")
    settings = Settings.load(grace=4)
    assert (settings.port, settings.threads, settings.lease, settings.grace) == (1, 2, 3, 4)


def test_a_flag_that_was_not_given_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "9000")
    assert Settings.load(port=None).port == 9000


def test_an_empty_variable_is_the_same_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    assert Settings.load().redis_url is None


def test_all_faults_are_reported_at_once_each_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("faena.toml").write_text('lease = "soon"\n')
    monkeypatch.setenv("API_PORT", "abc")
    faults = faults_of(threads=0)
    assert faults == [
        "API_PORT must be a whole number from 0 to 65535, not 'abc'",
        "lease in faena.toml must be a number of seconds above 0, not 'soon'",
        "--threads must be a whole number from 1 to 1000, not 0",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("FAENA_ENGNE", "FAENA_ENGINE"), ("FAENA_PORT", "API_PORT"), ("FAENA_REDIS_URL", "REDIS_URL")],
)
def test_an_unknown_name_gets_a_hint_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert faults_of() == [f"{name} is no setting; did you mean {meant}?"]


def test_a_name_that_resembles_nothing_lists_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAENA_ZZZZZZ", "1")
    (fault,) = faults_of()
    assert "the settings are API_HOST, API_PORT" in fault


def test_names_of_other_programs_are_let_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("DATABASE_URL=x\nDEBUG=1\n")
    monkeypatch.setenv("FAENA__WORKER_SLOT", "1")
    Settings.load()


def test_unknown_keys_of_the_file_and_of_dotenv_are_faults() -> None:
    Path("faena.toml").write_text("prot = 1\n")
    Path(".env").write_text("FAENA_THREDS=1\n")
    assert faults_of() == [
        "prot in faena.toml is no setting; did you mean port?",
        "FAENA_THREDS in .env is no setting; did you mean FAENA_THREADS?",
    ]


def test_the_named_file_must_be_there_and_be_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAENA_CONFIG", "other.toml")
    assert faults_of() == ["FAENA_CONFIG names other.toml, and there is no such file"]
    Path("other.toml").write_text("port = = 1")
    (fault,) = faults_of()
    assert fault.startswith("other.toml can't be read")
    Path("other.toml").write_text("port = 7000")
    assert Settings.load().port == 7000


def test_a_secret_is_shown_neither_in_a_fault_nor_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAENA_SECRET", "too-short")
    (fault,) = faults_of()
    assert "too-short" not in fault
    monkeypatch.setenv("FAENA_SECRET", "s" * 40)
    assert "ssss" not in repr(Settings.load())


@pytest.mark.parametrize("value", ["inf", "nan", "0", "-1"])
def test_a_duration_is_a_finite_number_above_zero(value: str) -> None:
    assert faults_of(lease=value) == [f"--lease must be a number of seconds above 0, not {value!r}"]


def test_queues_are_split_stripped_and_named_once() -> None:
    assert Settings.load(queues=" high, default,high,").queues == ("high", "default")


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_a_child_that_gets_the_environment_loads_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = Settings.load(data_dir="here", queues="a,b", queue_enabled=False, lease=2.5, secret="s" * 32)
    for name, value in told.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path.parent)
    assert Settings.load() == told


def test_one_data_directory_holds_everything(tmp_path: Path) -> None:
    settings = Settings.load(data_dir="data")
    assert settings.data_dir == tmp_path / "data"
    assert settings.queue_dir == tmp_path / "data" / "queue"
    assert settings.media_root == tmp_path / "data" / "media"
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_named_queue_directory_is_also_the_data_directory(tmp_path: Path) -> None:
    settings = Settings.load(queue_path="q", media_root="pictures")
    assert settings.data_dir == settings.queue_dir == tmp_path / "q"
    assert settings.media_root == tmp_path / "pictures"


def test_both_may_be_named(tmp_path: Path) -> None:
    settings = Settings.load(queue_path="q", data_dir="d")
    assert (settings.data_dir, settings.queue_dir) == (tmp_path / "d", tmp_path / "q")


def test_loading_settings_makes_no_directory(tmp_path: Path) -> None:
    Settings.load(data_dir="data")
    assert not (tmp_path / "data").exists()


def test_every_setting_says_what_it_is_and_has_its_own_name() -> None:
    names = [env_name(field) for field in Settings.model_fields]
    assert len(set(names)) == len(names)
    assert all(field.description for field in Settings.model_fields.values())
