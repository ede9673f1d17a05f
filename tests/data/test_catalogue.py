"""Names of data sets: found, suggested, and never a way out of their folder."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negsieve.data import catalogue
from negsieve.data.read import read
from negsieve.errors import MissingInput

OUTSIDE = [
    "../secret",
    "..",
    ".",
    "",
    "/etc",
    "a/b",
    "..%2fsecret",
    "a\0b",
    ".hidden",
    "x" * 65,
    "a b",
    "toy\n",
    "~",
    "é",
]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A data folder with a set "toy", and a set "secret" beside it that no name may reach."""
    for folder in ("data/toy", "secret", "data/.hidden"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(
            pa.table({"user_id": [1, 1, 2], "item_id": [1, 2, 1]}), tmp_path / folder / "interactions.parquet"
        )
    (tmp_path / "data/link").symlink_to(tmp_path / "secret")
    (tmp_path / "data/empty").mkdir()
    (tmp_path / "data/toy/README.md").write_text("# toy\n\n## Licence\nCC0, as the makers say.\n")
    monkeypatch.setenv("NEGSIEVE_DATA", str(tmp_path / "data"))
    return tmp_path


def test_the_shipped_set_is_there_with_its_notice(monkeypatch):
    monkeypatch.delenv("NEGSIEVE_DATA", raising=False)
    folder = catalogue.find("online-retail")
    log = read(folder)
    (entry,) = catalogue.known()
    assert (len(log.users), len(log.items), len(log)) == (entry.users, entry.items, entry.interactions)
    assert log.titles and all(log.titles) and log.domains == ("kitchen", "gift_home")
    notice = (folder / "NOTICE").read_text()
    assert "Chen" in notice and "CC0" in notice and "Changes" in notice


def test_sets_of_the_folder_are_known(outside):
    toy = catalogue.known()[1]
    assert (toy.name, toy.users, toy.items, toy.interactions) == ("toy", 2, 2, 3)
    assert toy.licence == "CC0, as the makers say."
    assert [entry.name for entry in catalogue.known()] == ["online-retail", "toy"]
    assert catalogue.find("toy") == catalogue.by_name("toy") == outside / "data/toy"


@pytest.mark.parametrize("name", [*OUTSIDE, "link", "empty", "secret"])
def test_names_never_leave_their_folder(outside, name):
    with pytest.raises(MissingInput):
        catalogue.by_name(name)


def test_unknown_names_are_told_what_is_near(outside):
    with pytest.raises(MissingInput, match="Did you mean 'online-retail'"):
        catalogue.find("online_retail")
    with pytest.raises(MissingInput, match="Did you mean 'toy'"):
        catalogue.by_name("toys")


def test_paths_are_found_as_paths(outside):
    assert catalogue.find(outside / "secret") == outside / "secret"
    for lost in ("no/such/file.csv", "a\0b", "x" * 5000, ""):
        with pytest.raises(MissingInput):
            catalogue.find(lost)


def test_sets_of_several_domains_say_which(shared, monkeypatch):
    monkeypatch.setenv(catalogue.VARIABLE, str(shared("amazon-toy-game").parent))
    domains = {entry.name: entry.domains for entry in catalogue.known()}
    assert domains["amazon-toy-game"] == ("toy", "game") and domains["online-retail"] == ()
    assert set(domains.get("abxi-afk", ("food", "kitchen"))) == {"food", "kitchen"}
    assert set(domains.get("llmcdsr-movie-book", ("movie", "book"))) == {"movie", "book"}
