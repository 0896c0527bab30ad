from __future__ import annotations

import io

import pytest

from exporter.commands.terminal import Paper, showing, table


class TestTable:
    def test_the_last_column_goes_on_below_itself(self) -> None:
        """A reason is read in full, and parted between words."""
        rows = [(("bern", ""), ("no reply within fifteen seconds", ""))]

        lines = table(("NAME", "REASON"), rows, Paper(width=28), wraps=True)

        assert [
            "NAME  REASON",
            "bern  no reply within",
            "      fifteen seconds",
        ] == list(lines)

    def test_a_last_column_without_room_stands_below(self) -> None:
        """On a narrow screen a reason is not lost behind a long name."""
        rows = [(("controller-1.example", ""), ("no reply in time", ""))]

        lines = table(("NAME", "REASON"), rows, Paper(width=24), wraps=True)

        assert [
            "NAME",
            "    REASON",
            "controller-1.example",
            "    no reply in time",
        ] == list(lines)

    def test_wide_letters_take_two_columns(self) -> None:
        """Words are parted by what they take on the screen."""
        lines = table(("A", "B"), [(("a", ""), ("東京 " * 10, ""))], Paper(width=27), wraps=True)

        assert ["A  B", f"a  {' '.join(['東京'] * 5)}", f"   {' '.join(['東京'] * 5)}"] == list(
            lines
        )

    def test_what_must_not_take_more_lines_is_cut_off(self) -> None:
        """A table on a screen of its own has as many lines as rows."""
        rows = [(("bern", ""), ("no reply within fifteen seconds", ""))]

        lines = list(table(("NAME", "REASON"), rows, Paper(width=28)))

        assert "bern  no reply within fifte\N{HORIZONTAL ELLIPSIS}" == lines[1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestShowing:
    def test_a_terminal_is_given_back(self) -> None:
        """The report takes the second screen, and the last one stays on the first."""
        out = Terminal()

        with showing(out, colour=False) as show:
            show(lambda _: "first\n")
            show(lambda _: "second\n")

        assert (
            "\x1b[?1049h\x1b[?25l"
            "\x1b[Hfirst\x1b[K\x1b[J"
            "\x1b[Hsecond\x1b[K\x1b[J"
            "\x1b[?25h\x1b[?1049lsecond\n"
        ) == out.getvalue()

    def test_a_terminal_is_given_back_after_an_error(self) -> None:
        """The cursor must come back, also after an error."""
        out = Terminal()

        with pytest.raises(KeyError), showing(out, colour=False):
            raise KeyError

        assert out.getvalue().endswith("\x1b[?25h\x1b[?1049l")

    def test_a_terminal_has_a_size(self) -> None:
        """A report must be given the terminal's size and colours."""
        papers: list[Paper] = []

        def write(paper: Paper) -> str:
            papers.append(paper)
            return ""

        with showing(Terminal(), colour=True) as show:
            show(write)

        assert papers[0].colour
        assert papers[0].width
        assert papers[0].height

    def test_a_report_is_no_longer_than_the_screen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A report longer than the screen must be cut at its end, without scrolling."""
        monkeypatch.setenv("LINES", "2")
        out = Terminal()

        with showing(out, colour=False) as show:
            show(lambda _: "first\nsecond\nthird\n")

        screen = out.getvalue().partition("\x1b[H")[2].partition("\x1b[J")[0]
        assert "first\x1b[K\nsecond\x1b[K" == screen

    def test_a_file_gets_what_is_new(self) -> None:
        """In a file, reports must follow each other in full, without repetitions."""
        out = io.StringIO()

        with showing(out, colour=False) as show:
            for text in ("one\n", "one\n", "two\n"):
                show(lambda paper, text=text: text if paper == Paper() else "")  # type: ignore[misc]  # bound to the turn of the loop

        assert "one\n\ntwo\n" == out.getvalue()
