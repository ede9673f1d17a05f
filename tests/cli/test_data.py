def test_a_summary_for_people_and_for_scripts(call, log):
    said = call("data", "summary", log)
    assert said.code == 0 and said.err == ""
    for words in ("31 users, 40 items", "density", "rows a user", "cold in test", "columns"):
        assert words in said.out
    told = call("data", "summary", log, "--json").json
    assert told["users"] == 31 and told["cold"]["test"]["users"] == 1
    assert set(told["parts"]) == {"train", "valid", "test"}


def test_cleaning_and_splits_are_settings(call, log):
    told = call("data", "summary", log, "--split", "loo", "--set", "data.core=[2, 8]", "--json").json
    assert told["split"]["method"] == "loo"
    assert told["per_item"]["min"] >= 8 and told["dropped"]["core"] > 0


def test_bad_rows_are_named_by_place(call, tmp_path):
    file = tmp_path / "bad.csv"
    file.write_text("user_id,item_id,timestamp\nu1,i1,1\nu2,i2,NaN\nu3\n")
    said = call("data", "summary", file)
    assert said.code == 65 and said.out == ""
    assert "bad.csv:3" in said.err and "bad.csv:4" in said.err


def test_known_data_sets_with_their_licence(call, log, monkeypatch):
    monkeypatch.setenv("NEGSIEVE_DATA", str(log.parent))
    said = call("data", "list")
    assert "online-retail" in said.out and "CC0" in said.out
    found = call("data", "list", "--json").json["data"]
    assert found[0]["name"] == "online-retail" and found[0]["where"] == "shipped"
    assert call("list", "data", "--json").json["data"] == found
