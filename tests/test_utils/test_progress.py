"""Progress bars: what a terminal shows, and that nobody else sees any."""

import io
import multiprocessing
import sys
import time

import pytest
from rich.text import Text

from mmwsss.utils import progress
from mmwsss.utils.progress import end_bars, progress_bar, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes standard error a terminal, and returns it."""
    for name in ('FORCE_COLOR', 'NO_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '100')

    # pytest sets its own stream once more behind the fixtures
    def begin():
        monkeypatch.setattr(sys, 'stderr', Terminal())
        return sys.stderr

    yield begin
    assert progress._display is None


def last_line(stream):
    """Return the text of the line drawn last, without colours."""
    text = stream.getvalue().rstrip()
    for end in ('\x1b[?25h', '\n'):
        text = text.removesuffix(end).rstrip()
    return Text.from_ansi(text.splitlines()[-1]).plain


def test_terminal_shows_the_end_count_and_the_time(terminal):
    screen = terminal()
    assert list(track('abc', 'Letters')) == list('abc')
    line = last_line(screen)
    assert line.split()[0] == 'Letters'
    assert line.split()[-2:] == ['3/3', '0:00:00']
    # the cursor is hidden and shown again
    assert screen.getvalue().count('\x1b[?25l') == 1
    assert screen.getvalue().endswith('\x1b[?25h')


def test_time_left_follows_from_the_mean_of_the_steps(terminal, monkeypatch):
    screen = terminal()
    clock = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
    new = progress._new_display

    def with_clock(*arguments):
        display = new(*arguments)
        display.get_time = lambda: clock[0]
        return display

    monkeypatch.setattr(progress, '_new_display', with_clock)
    shown = []
    # longer than the half minute over which rich takes the mean of its own accord
    for _ in track(iter('abcde'), 'Hours', total=5):
        shown.append(last_line(screen).split()[-2:])
        clock[0] += 3600
    assert shown[:2] == [['0/5', '-:--:--'], ['1/5', '-:--:--']]
    assert shown[2:] == [['2/5', '3:00:00'], ['3/5', '2:00:00'], ['4/5', '1:00:00']]
    assert last_line(screen).split()[-2:] == ['5/5', '5:00:00']


def test_file_or_pipe_gets_nothing(monkeypatch, capsys):
    assert list(track(iter('abc'), 'Letters', total=3)) == list('abc')
    # colours that are forced do not make a log a terminal
    monkeypatch.setenv('FORCE_COLOR', '1')
    assert list(track('abc', 'Letters')) == list('abc')
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize(
    ('name', 'value'),
    [('is_main_process', lambda: False), ('TERM', 'dumb'), ('total', 0)],
)
def test_others_show_nothing(terminal, monkeypatch, name, value):
    screen = terminal()
    if name == 'TERM':
        monkeypatch.setenv(name, value)
    elif name == 'is_main_process':
        monkeypatch.setattr(progress, name, value)
    items = '' if name == 'total' else 'abc'
    assert list(track(items, 'Letters')) == list(items)
    assert screen.getvalue() == ''


def test_processes_that_help_show_nothing(terminal):
    screen = terminal()
    queue = multiprocessing.get_context('fork').SimpleQueue()

    def work():
        list(track('abc', 'Letters'))
        queue.put(screen.getvalue())

    worker = multiprocessing.get_context('fork').Process(target=work)
    worker.start()
    worker.join()
    assert worker.exitcode == 0 and queue.get() == ''


def test_bar_within_a_bar_is_a_second_line_while_it_lasts(terminal):
    screen = terminal()
    for _ in track('ab', 'Outer'):
        list(track('xyz', 'Inner'))
    text = screen.getvalue()
    assert 'Inner' in text and last_line(screen).split()[-2] == '2/2'
    assert last_line(screen).startswith('Outer')
    # one display: the cursor is hidden once
    assert text.count('\x1b[?25l') == 1


def test_end_leaves_the_bar_and_lets_loops_go_on(terminal):
    screen = terminal()
    items = track('abc', 'Letters')
    assert next(items) == 'a'
    end_bars()
    assert screen.getvalue().endswith('\x1b[?25h')
    # a later one is not ended by what was before it
    other = track('xy', 'Others')
    assert next(other) == 'x'
    assert list(items) == ['b', 'c']
    assert progress._display is not None
    assert list(other) == ['y']


def test_error_ends_the_bar(terminal):
    screen = terminal()
    with pytest.raises(ZeroDivisionError), progress_bar('Steps', 4) as bar:
        bar.advance(3)
        bar.describe('[Division]')
        bar.advance(1 // 0)
    assert last_line(screen).startswith('[Division]')
    assert last_line(screen).split()[-2] == '3/4'


def test_ticking_bar_is_drawn_between_steps(terminal):
    screen = terminal()
    with progress_bar('Stages', 2, ticking=True):
        drawn = len(screen.getvalue())
        deadline = time.monotonic() + 10
        while len(screen.getvalue()) == drawn and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(screen.getvalue()) > drawn


def test_number_of_items_must_be_told(terminal):
    terminal()
    with pytest.raises(TypeError, match='Letters: items without a length need a total'):
        list(track(iter('abc'), 'Letters'))
