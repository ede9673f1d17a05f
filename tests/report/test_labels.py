from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.report.labels import place


def overlaps(labels):
    return sum(
        one.overlap(two.x, two.y, two.width, two.height) for i, one in enumerate(labels) for two in labels[i + 1 :]
    )


def test_a_tight_cluster_keeps_its_names_apart_and_inside():
    points = [(300 + 6 * (i % 3), 200 + 5 * (i // 3)) for i in range(9)]
    texts = [f"mf · dns:candidates={2**i}" for i in range(9)]
    labels = place(points, texts, width=700, height=400, size=11)
    assert overlaps(labels) == 0
    for label in labels:
        assert label.x >= 0 and label.y >= 0 and label.x + label.width <= 700 and label.y + label.height <= 400
        assert all(label.overlap(x - 3, y - 3, 6, 6) == 0 for x, y in points)
    assert any(label.far for label in labels)


def test_a_single_name_stands_beside_its_point_and_clear_of_taken_boxes():
    (free,) = place([(100, 100)], ["name"], width=400, height=200, size=11)
    assert not free.far and free.x > 100
    (pushed,) = place([(100, 100)], ["name"], width=400, height=200, size=11, taken=[(101, 80, 300, 40)])
    assert pushed.overlap(101, 80, 300, 40) == 0


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=6))
def test_every_point_gets_one_label(points):
    assert len(place(points, ["some name"] * len(points), width=300, height=300, size=11)) == len(points)
