"""The demo as a page in the browser, by gradio."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from mmwsss.apis.demo import DemoSession, example_image
from mmwsss.apis.demo_events import Answer, DemoEvents
from mmwsss.utils.errors import ConfigError, DependencyError
from mmwsss.visualization.prediction_html import STYLE, pictures_html, scores_html

HOST, PORT = '127.0.0.1', 7860
TEXTS = (
    'body_text_color_subdued',
    'block_info_text_color',
    'block_label_text_color',
    'block_title_text_color',
)
"""Whose shade is too faint in gradio's themes."""
EXAMPLES = 4
IMAGE_HEIGHT = 360
LARGEST_FILE = '64mb'
EMPTY = '<div class="found"></div>'
TITLE = 'mmwsss: look at an image'
ABOUT = """# {title}
Drop an image or take an example. The network finds tags; tick others to see their maps.
The background threshold turns maps into seeds and a pseudo label. Model: {model}."""

PAGE_STYLE = """
#status { position: sticky; top: 0; z-index: 50; padding: 0 .5rem;
  background: var(--background-fill-primary); font-size: 1rem;
  border: 1px solid var(--border-color-primary); border-left: .4rem solid #2563eb; }
#status:has(.error) { border-left-color: #dc2626; }
#status p { margin: .4rem 0; overflow-wrap: anywhere; }
.gradio-container :is(button, input, summary, a, textarea):focus-visible {
  outline: 3px solid var(--focus) !important; outline-offset: 2px !important; }
#side h2 { font-size: 1.05rem; }
.gradio-container { --focus: #1d4ed8; }
.dark .gradio-container, .gradio-container.dark { --focus: #93c5fd; }
"""
LIVE = "element.setAttribute('role', 'status');"
NAMES = """() => {
  document.querySelector('fieldset#tags')?.setAttribute('aria-label', 'Tags');
  // the button's text says the same
  for (const icon of document.querySelectorAll('[id^=example_] img')) icon.alt = '';
}"""
SESSIONS = 32
"""Readers whose images are kept at once."""


def import_gradio() -> Any:
    """Import gradio.

    Raises:
        DependencyError: if it is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise DependencyError(
            "the demo page needs gradio; run: pip install 'mmwsss[demo]'"
        ) from error
    return gradio


class DemoPage:
    """The page of a session.

    Args:
        session: Of the network.
        title: Name of the model, as the page shows it.

    Attributes:
        blocks: gradio's page, not yet served.

    Raises:
        DependencyError: if gradio is not installed.
    """

    def __init__(self, session: DemoSession, *, title: str) -> None:
        self.gradio = import_gradio()
        self.session, self.events = session, DemoEvents(session)
        gr = self.gradio
        plain = dict(apply_default_css=False, js_on_load=None)
        with gr.Blocks(title=TITLE, analytics_enabled=False) as self.blocks:
            gr.Markdown(ABOUT.format(title=TITLE, model=escape(title)))
            self.status = gr.HTML(
                'Loading …',
                elem_id='status',
                html_template='<p>${value}</p>',
                js_on_load=LIVE,
            )
            with gr.Row():
                with gr.Column(scale=2, min_width=280, elem_id='side'):
                    self._add_image()
                    self._add_tags()
                    self._add_point()
                with gr.Column(scale=3, min_width=280):
                    self.pictures = gr.HTML(EMPTY, elem_id='pictures', **plain)
                    self.scores = gr.HTML(EMPTY, elem_id='scores', **plain)
            self.found = gr.State(None)
            self._connect()

    def _add_image(self) -> None:
        gr = self.gradio
        self.image = gr.Image(
            label='Image',
            type='filepath',
            image_mode=None,
            format='png',
            sources=['upload', 'clipboard'],
            buttons=[],
            height=IMAGE_HEIGHT,
            elem_id='image',
            alt_text='The image that is looked at',
        )
        # the file as it is: the data sets' own decoder judges it, not gradio's
        self.image.preprocess = lambda file: None if file is None else file.path
        # the drop zone takes a file only while it is empty
        self.choose = gr.UploadButton(
            'Choose an image file', file_types=['image'], size='sm', elem_id='choose'
        )
        with gr.Row():
            self.examples = [self._example(index) for index in range(EXAMPLES)]

    def _example(self, index: int) -> Any:
        image, tags = example_image(index)
        folder = Path(tempfile.mkdtemp(dir=os.environ.get('GRADIO_TEMP_DIR')))
        path = folder / f'example_{index + 1}.png'
        Image.fromarray(image.pixels()[..., ::-1]).save(path)
        return self.gradio.Button(
            f'Example {index + 1}',
            icon=path,
            size='sm',
            min_width=60,
            elem_id=f'example_{index + 1}',
        )

    def _add_tags(self) -> None:
        gr, missing = self.gradio, self.session.missing_tags
        self.tags = gr.CheckboxGroup(
            list(self.session.classes),
            label='Tags',
            info=missing or 'Ticked classes are localized.',
            interactive=not missing,
            elem_id='tags',
        )
        self.find = gr.Button(
            'Let the network find the tags',
            size='sm',
            interactive=not missing,
            elem_id='find',
        )
        self.threshold = gr.Slider(
            0,
            1,
            self.session.threshold,
            step=0.01,
            label='Background threshold',
            info=missing or 'Pixels whose highest map is not above it are background.',
            interactive=not missing,
            elem_id='threshold',
        )

    def _add_point(self) -> None:
        gr, missing = self.gradio, self.session.missing_affinity
        settings = dict(precision=0, interactive=not missing, min_width=100)
        about = 'Click the image, or enter a place and press Enter.'
        gr.Markdown(f'## Affinity of a point\n{missing or about}')
        with gr.Row():
            self.column = gr.Number(None, label='Column', elem_id='column', **settings)
            self.row = gr.Number(None, label='Row', elem_id='row', **settings)
        self.ask = gr.Button(
            'Show the affinity',
            size='sm',
            interactive=not missing,
            elem_id='ask',
        )

    @property
    def _outputs(self) -> list[Any]:
        looks = [self.found, self.image, self.tags, self.status, self.pictures]
        return [*looks, self.scores, self.column, self.row]

    def _connect(self) -> None:
        events, held = self.events, [self.found, self.threshold]
        self._on(self.blocks.load, self._first, [self.threshold])
        self.blocks.load(None, js=NAMES)
        for file in (self.image, self.choose):
            self._on(file.upload, events.choose_file, [file, self.threshold])
        self._on(self.image.clear, events.forget, [])
        for index, button in enumerate(self.examples):
            self._on(button.click, self._chooser(index), [self.threshold])
        tick = [self.found, self.tags, self.threshold]
        self._on(self.tags.input, events.tick, tick)
        self._on(self.find.click, events.find_tags, held)
        self._on(self.threshold.input, events.move, held)
        if self.session.missing_affinity:
            return
        place = [self.found, self.column, self.row]
        for trigger in (self.ask.click, self.column.submit, self.row.submit):
            self._on(trigger, events.point, place)
        self._connect_clicks()

    def _connect_clicks(self) -> None:
        gr = self.gradio

        def clicked(found: Any, event: Any) -> list[Any]:
            return self._shown(self.events.click(found, *event.index))

        # gradio reads from it that the place of the click is wanted
        clicked.__annotations__['event'] = gr.SelectData
        self._listen(self.image.select, clicked, [self.found])

    def _first(self, threshold: float) -> Answer:
        return self.events.choose_example(0, threshold)

    def _chooser(self, index: int) -> Callable[[float], Answer]:
        return lambda threshold: self.events.choose_example(index, threshold)

    def _on(self, trigger: Any, answer: Callable[..., Answer], inputs: list) -> None:
        self._listen(trigger, lambda *given: self._shown(answer(*given)), inputs)

    def _listen(self, trigger: Any, function: Any, inputs: list) -> None:
        trigger(
            function,
            inputs,
            self._outputs,
            api_visibility='private',
            show_progress='minimal',
            show_progress_on=self.status,
            trigger_mode='always_last',
            # in the order of what was done: each answer begins with the last one's
            concurrency_id='answers',
            concurrency_limit=1,
        )

    def _shown(self, answer: Answer) -> list[Any]:
        """Return what each of the outputs becomes."""
        # gradio would fill in what stands in braces
        skip, text = self.gradio.skip(), escape(answer.status).replace('{', '&#123;')
        if answer.error:
            text = f'<span class="error"><strong>Not possible:</strong> {text}</span>'
        if answer.stays:
            return [skip, skip, skip, text, *[skip] * 4]
        if answer.found is None:
            return [None, None, [], text, EMPTY, EMPTY, None, None]
        prediction = answer.found.prediction
        painter = self.session.inferencer.painter
        return [
            answer.found,
            skip if answer.picture is None else answer.picture,
            skip if answer.ticks is None else list(answer.ticks),
            text,
            pictures_html(painter, prediction, rule=self.session.label_rule),
            scores_html(prediction),
            *((skip, skip) if answer.place is None else answer.place),
        ]

    def launch(self, *, host: str = HOST, port: int = PORT) -> str:
        """Serve the page in a thread; return its address.

        Raises:
            ConfigError: if the port cannot be had.
        """
        try:
            _, address, _ = self.blocks.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=True,
                share=False,
                inbrowser=False,
                quiet=True,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                run_history=False,
                enable_monitoring=False,
                state_session_capacity=SESSIONS,
                footer_links=[],
                max_file_size=LARGEST_FILE,
                theme=_theme(self.gradio),
                css=PAGE_STYLE + STYLE,
            )
        except OSError as error:
            raise ConfigError(
                f'port {port} of {host} cannot be had ({error}); choose another by '
                '--port, or another address by --host'
            ) from error
        return str(address)


def _theme(gr: Any) -> Any:
    """Return a theme whose texts stand out and whose fonts are the reader's own."""
    theme = gr.themes.Base(
        primary_hue='blue',
        neutral_hue='slate',
        font=['system-ui', 'sans-serif'],
        font_mono=['ui-monospace', 'monospace'],
    )
    shades = {name: '*neutral_700' for name in TEXTS}
    dark = {f'{name}_dark': '*neutral_200' for name in TEXTS}
    return theme.set(**shades, **dark)


@contextmanager
def quiet_surroundings(host: str = HOST) -> Iterator[Path]:
    """Keep gradio from calling home, and its files in a folder that goes at the end."""
    with tempfile.TemporaryDirectory(prefix='mmwsss_demo_') as folder:
        around = os.environ.get('NO_PROXY', os.environ.get('no_proxy', ''))
        wanted = dict(
            GRADIO_ANALYTICS_ENABLED='False',
            HF_HUB_DISABLE_TELEMETRY='1',
            GRADIO_TEMP_DIR=folder,
            # gradio asks its own server whether it answers
            NO_PROXY=','.join(filter(None, [around, host, 'localhost'])),
        )
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def serve(
    session: DemoSession, *, title: str, host: str = HOST, port: int = PORT
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        session: Of the network.
        title: Name of the model, as the page shows it.
        host: Address that it listens at; the default's is of this machine alone.
        port: Port.

    Raises:
        ConfigError: if the port cannot be had.
        DependencyError: if gradio is not installed.
    """
    # however it is ended, the reader's files go
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with quiet_surroundings(host):
        page = DemoPage(session, title=title)
        print(
            f'{page.launch(host=host, port=port)} shows {title}; Ctrl+C ends it',
            flush=True,
        )
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print('ended')
        finally:
            page.blocks.close(verbose=False)
            signal.signal(signal.SIGTERM, before)
