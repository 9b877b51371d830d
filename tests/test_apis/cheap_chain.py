"""A chain of cheap stages in a folder."""

from mmwsss.apis.pipeline import Pipeline, Stage
from mmwsss.utils.digests import digest_file

NAMES = ('one', 'two', 'three')
# Appends to a journal, then writes the file before it with its own name behind.
SCRIPT = """
import os, sys, time
folder, name, before, fault = sys.argv[1:]
with open(f'{folder}/journal', 'a') as journal:
    journal.write(name + '\\n')
print('working on', name, flush=True)
os.makedirs(f'{folder}/{name}', exist_ok=True)
fault_file = f'{folder}/{fault}'
if fault and os.path.exists(fault_file):
    open(f'{folder}/{name}/half', 'w').close()
    if fault == 'slow':
        time.sleep(60)
    print('\\n'.join(f'line {i}' for i in range(40)))
    sys.exit('the fault: no more paper')
text = open(f'{folder}/{before}/made').read() if before else ''
with open(f'{folder}/{name}/made', 'w') as file:
    file.write(text + name)
"""


class Chain:
    """Three stages that each lengthen a text, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = {name: {} for name in NAMES}
        self.faults = dict.fromkeys(NAMES, '')
        self.script = folder / 'script.py'
        self.script.write_text(SCRIPT)

    def stage(self, name, before):
        made = self.folder / name / 'made'
        arguments = (str(self.folder), name, before, self.faults[name])
        return Stage(
            name=name,
            commands=((str(self.script), *arguments),),
            files=(self.folder / name,),
            settings=self.settings[name],
            output=lambda: digest_file(made),
            quality=lambda: dict(length=float(len(made.read_text()))),
        )

    def pipeline(self):
        stages = [self.stage(n, b) for n, b in zip(NAMES, ('', *NAMES))]
        return Pipeline(stages, self.folder)

    def run(self, **options):
        """Run, and return what was run by this call."""
        journal = self.folder / 'journal'
        journal.write_text('')
        self.pipeline().run(**options)
        return journal.read_text().split()

    def planned(self, **options):
        return [stage.name for stage in self.pipeline().plan(**options)]

    def record(self, name):
        return self.folder / f'stages/{name}.json'

    def made(self, name):
        return (self.folder / name / 'made').read_text()
