"""launch/README.md: its commands run, with flags that the programs have."""

import re
import subprocess

import pytest

from vit_jax.cli import parsing
from vit_jax.config import recipes

# Flags that the page may use, as `gcloud ... --help` of version 528.0.0 lists
# them; in a pair, one of them goes without the other.
GCLOUD = {
  'artifacts repositories create': 'location repository-format',
  'auth configure-docker': '',
  'compute tpus queued-resources create': 'zone node-id node-count node-prefix '
  'accelerator-type runtime-version spot valid-until-duration service-account',
  'compute tpus queued-resources delete': 'zone force',
  'compute tpus queued-resources describe': 'zone',
  'compute tpus queued-resources ssh': 'zone node worker command',
  'compute tpus tpu-vm ssh': 'zone worker command',
  'container clusters create': 'location num-nodes machine-type workload-pool '
  'addons',
  'container clusters get-credentials': 'location',
  'container node-pools create': 'cluster location node-locations num-nodes '
  'machine-type tpu-topology spot',
  'storage buckets add-iam-policy-binding': 'member role',
  'storage buckets create': 'location uniform-bucket-level-access',
}
# Likewise of kubectl 1.32, docker, and Slurm 22.05.
OTHERS = {
  'kubectl': 'server-side filename selector prefix max-log-requests tail',
  'docker': 'file build-arg tag',
  'squeue': 'me',
  'scancel': 'signal',
  'tail': 'follow',
}
NEEDED = {
  'compute tpus queued-resources create': {
    *('zone', 'accelerator-type', 'runtime-version'),
  },
  'container node-pools create': {'cluster', 'machine-type', 'tpu-topology'},
}


def blocks(text):
  """Returns the indented blocks of a page that are commands."""
  return [
    re.sub(r'^    ', '', block, flags=re.M)
    for block in re.findall(r'(?:^    \S.*\n(?:^     .*\n)*)+', text, re.M)
  ]


@pytest.fixture
def called(machine, monkeypatch):
  """{program: calls} of all commands of the page; launchers run dry."""
  work = machine.home / 'work'
  for name in ('gcloud', 'docker', 'git', 'squeue', 'scancel', 'tail'):
    machine.note(name, 'exit 0')
  for name in ('kubectl', 'python3', 'vit_jax'):
    machine.note(name, 'exit 0')
  machine.script('work/.venv/bin/pip', '')
  (work / 'vit_jax').symlink_to(work)  # As git would have made it.
  for path in machine.launch.glob('*.sh'):
    machine.note(f'launch/{path.name}', f'exec bash {path} --dry-run "$@"')
  (work / 'launch').symlink_to(machine.home / 'bin/launch')
  text = (machine.launch / 'README.md').read_text()
  shown = []
  for block in blocks(text):
    done = subprocess.run(
      ['bash', '-euo', 'pipefail', '-c', block],
      cwd=work,
      capture_output=True,
      text=True,
      timeout=100,
    )
    assert done.returncode == 0, (block, done.stderr)
    shown.append((block, done.stdout))
  return {name: machine.noted(name) for name in machine.has_started()}, shown


def flags(call):
  return {word[2:].partition('=')[0] for word in call if word.startswith('--')}


def test_every_command_of_the_page_runs(called):
  calls, shown = called
  started = {name for name in calls if name.endswith('.sh')}
  wanted = {'tpu_pod.sh', 'gke_jobset.sh', 'slurm.sh', 'gpu_node.sh'}
  wanted |= {'slurm_sweep.sh', 'gke_sweep.sh'}
  assert started == wanted
  for block, printed in shown:
    count = len(re.findall(r'^launch/', block, re.M))
    assert bool(count) == bool(printed), block
  for name in calls.keys() & OTHERS.keys():
    for call in calls[name]:
      assert flags(call) <= set(OTHERS[name].split()), call
  seen = set()
  for call in calls['gcloud']:
    (command,) = (
      command
      for command in GCLOUD
      if call[: command.count(' ') + 1] == command.split()
    )
    given = flags(call)
    seen.add(command)
    assert given <= set(GCLOUD[command].split()), call
    assert given >= NEEDED.get(command, set()), call
    if command.endswith('resources create'):
      assert ('node-id' in given) != ('node-count' in given), call
  assert seen == set(GCLOUD)


def test_what_is_started_is_understood(called):
  calls, _ = called
  for name, command in {
    **dict.fromkeys(
      ('tpu_pod.sh', 'gke_jobset.sh', 'slurm.sh', 'gpu_node.sh'), 'train'
    ),
    **dict.fromkeys(('slurm_sweep.sh', 'gke_sweep.sh'), 'sweep'),
  }.items():
    started = [call for call in calls[name] if command in call]
    assert started
    for call in started:
      arguments = call[call.index(command) + 1 :]
      parsed = parsing.parse(command, arguments)
      recipes.load(parsed.config, parsed.overrides)
