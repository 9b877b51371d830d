"""Look at images in the browser: tags, maps, seeds, labels, affinity of a point.

python tools/demo.py configs/acr/hybrid_embedded.py work_dirs/hybrid_embedded
Serves a page at http://127.0.0.1:7860, on a GPU or a CPU, and asks nothing of the
network outside. Drop an image, tick tags, move the background threshold, click a point
to see what attention joins to it (ACR). CONFIG may also be the name of a config that
comes with mmwsss. Needs gradio: pip install 'mmwsss[demo]'.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from mmwsss.apis import WSSSInferencer
from mmwsss.apis.demo import DemoSession
from mmwsss.apis.demo_page import HOST, PORT, import_gradio, serve
from mmwsss.apis.launch import (
    add_cfg_options,
    add_inference_arguments,
    config_with,
    run_tool,
)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add_inference_arguments(parser, background='where the slider begins')
    parser.add_argument(
        '--host', default=HOST, help='address to listen at; 0.0.0.0: for all machines'
    )
    parser.add_argument('--port', type=int, default=PORT, help='port to listen at')
    add_cfg_options(parser, example='refiner.type=densecrf')
    return parser.parse_args()


def main() -> None:
    """Load, serve."""
    args = parse_arguments()
    # before anything that takes long
    import_gradio()
    inferencer = WSSSInferencer(
        config_with(args.config, args.cfg_options),
        args.checkpoint,
        args.device,
        score_threshold=args.score_threshold,
        background_threshold=args.background_threshold,
        show_progress=False,
    )
    title = f'{Path(args.config).stem}, {args.checkpoint}'
    session = DemoSession(inferencer, refiner=args.refiner)
    serve(session, title=title, host=args.host, port=args.port)


if __name__ == '__main__':
    run_tool(main)
