"""Columns by their memory hold what pyarrow's own hold, and nothing of it imports pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from negsieve import arrow

TEXTS = [["a", "", "ü", "long text " * 9], ["a", None, "", None], [None] * 9, []]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("values", TEXTS)
def test_texts_are_those_of_pyarrow(values, kind):
    made = arrow.texts(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind)) and made.null_count == values.count(None)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float32", "float64"])
def test_numbers_go_to_a_column_and_back(dtype):
    values = np.arange(20).astype(dtype)[::2]
    made = arrow.numbers(values)
    made.validate(full=True)
    assert made.equals(pa.array(values))
    back = arrow.array(pa.chunked_array([made, made]))
    assert back.dtype == dtype and np.array_equal(back, np.concatenate([values, values])) and back.flags.writeable


def test_a_column_shares_the_memory_of_its_array():
    values = np.arange(4)
    made = arrow.numbers(values)
    values[0] = 7
    assert made[0].as_py() == 7


def test_what_is_neither_number_nor_text_goes_by_pyarrow():
    assert arrow.column(np.array([True, False])).equals(pa.array([True, False]))
    assert arrow.column(np.array(["a", "bc"])).equals(pa.array(["a", "bc"]))
    assert arrow.column([0.5, None]).equals(pa.array([0.5, None]))
    assert arrow.column(made := pa.array([1])) is made


def test_nothing_is_a_number_and_stays_so():
    assert arrow.numbers(np.array([np.nan, 1.0])).null_count == 0
    assert len(arrow.array(pa.chunked_array([], pa.int16()))) == 0


def test_text_that_32_bits_cannot_count_is_refused(monkeypatch):
    class Long(str):
        def encode(self):
            return Bytes(b"x")

    class Bytes(bytes):
        def __len__(self):
            return 2**31

    with pytest.raises(ValueError, match="2147483648 bytes of text"):
        arrow.texts([Long("x")])


def test_the_same_bytes_on_disk(tmp_path):
    values, names = np.arange(1000) % 7, [str(i) for i in range(1000)]
    for name, table in (
        ("ours", {"n": arrow.numbers(values), "t": arrow.texts(names)}),
        ("theirs", {"n": pa.array(values), "t": pa.array(names)}),
    ):
        pq.write_table(pa.table(table), tmp_path / name, write_page_checksum=True)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert arrow.read_parquet(tmp_path / "ours").equals(pq.read_table(tmp_path / "theirs"))


def test_a_run_does_not_import_pandas(tmp_path):
    pytest.importorskip("pandas")
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u{n % 9},i{n * 7 % 31}\n" for n in range(200)))
    code = f"""
import sys
import negsieve
folder = {str(tmp_path)!r}
negsieve.train(folder + "/log.csv", model="mf:dim=8", epochs=2, out=folder + "/run")
negsieve.recommend(folder + "/run")
assert "pandas" not in sys.modules, "pandas came in"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
