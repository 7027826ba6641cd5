"""What is told on a terminal, whatever it quotes."""

from driftcli.cli.console import Console, show_error


def test_a_terminal_gets_nothing_that_it_would_obey(capsys):
    """A message may quote a file, which may hold what clears a screen or sets a title."""
    show_error("p.prb holds '\x1b[2J\x1b]0;owned\x07' and µ\x9b", "give [bold]another[/]")
    Console(quiet=False, json=False).message("meta says \x1b[31m\r\x00")
    told = capsys.readouterr().err
    assert "p.prb holds '?[2J?]0;owned?' and µ?. Try: give [bold]another[/]." in told
    assert "note: meta says ?[31m??" in told
    assert "\x1b[2J" not in told
