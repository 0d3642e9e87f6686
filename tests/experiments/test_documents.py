"""Tables in Markdown, and documents that scripts write into."""

import pytest

from memagents.experiments.documents import markdown_table, marks, write_between_marks


def test_columns_are_padded_and_aligned():
    assert markdown_table(["core", "steps/s"], [["`lstm`", "9,164"], ["`dnc`", "22"]], "lr") == [
        "| core   | steps/s |",
        "|--------|--------:|",
        "| `lstm` |   9,164 |",
        "| `dnc`  |      22 |",
    ]


def test_columns_begin_at_the_left_by_default_and_heads_may_be_empty():
    assert markdown_table(["", "success"], [["a", "1"]]) == [
        "|   | success |",
        "|---|---------|",
        "| a | 1       |",
    ]


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown_table(["`a|b`"], [["x | y"]])[0::2] == ["| `a\\|b` |", "| x \\| y |"]


def test_a_table_without_rows_is_its_head():
    assert markdown_table(["a", "b"], []) == ["| a | b |", "|---|---|"]


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="rows must have a cell for each of 2 columns, not 1"):
        markdown_table(["a", "b"], [["1"]])
    for align in ("l", "lc"):
        with pytest.raises(ValueError, match="align must be a letter l or r for each of 2 columns"):
            markdown_table(["a", "b"], [], align)


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    document = tmp_path / "page.md"
    begin, end = marks("small")
    document.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    write_between_marks(document, "small", ["new", ""])
    assert document.read_text() == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"


def test_a_document_without_the_marks_stays_as_it_is(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- table small -->\nafter\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        write_between_marks(document, "small", ["new"])
    assert document.read_text() == "before\n<!-- table small -->\nafter\n"
