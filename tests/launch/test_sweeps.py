"""A sweep under a scheduler: which runs are submitted, and in what order."""

import pytest
import yaml

SWEEP = ('sweep', '--config=a.py:variant=B/16', "--workdir=/data/it's here")
LIST = """number,stage,state,settings,dataset,folder
0,choosing,done,"{""a.b"": 0.1}",cifar10,/w/0
1,choosing,busy,"{""a.b"": 0.3}",cifar10,/w/1
2,choosing,missing,"{""a.b"": ""final,done""}",cifar10,/w/2
3,final,waiting,"{""seed"": 0}",cifar10,
4,final,waiting,"{""seed"": 1}",cifar10,
"""


@pytest.fixture
def listing(machine):
  """Has `vit_jax ... --list` print a list: listing(text)."""

  def listing(text):
    (machine.home / 'list').write_text(text)

  machine.note(
    'vit_jax',
    'for word; do\n'
    f'  if [[ $word == --list ]]; then cat {machine.home}/list; fi\ndone',
  )
  listing(LIST)
  return listing


@pytest.fixture
def sbatch(machine, listing):
  """Submitted jobs are numbered from 1."""
  machine.note(
    'sbatch', 'echo >>"$HOME/jobs"; echo "$(wc -l <"$HOME/jobs");cluster"'
  )


def options(call):
  return dict(
    word[2:].partition('=')[::2] for word in call if word.startswith('--')
  )


def test_slurm_starts_what_is_left_in_order(machine, sbatch):
  done = machine.start('slurm_sweep.sh', '2', *SWEEP)
  assert done.returncode == 0, done.stderr
  found = {options(call)['job-name']: call for call in machine.noted('sbatch')}
  given = {name: options(call) for name, call in found.items()}
  assert given['trials']['array'] == '1,2'
  assert given['finals']['array'] == '3,4'
  assert [
    given[name].get('dependency') for name in ('trials', 'finals', 'table')
  ] == [None, 'afterok:1', 'afterok:2']
  assert 'array' not in given['table']
  for call in found.values():
    assert options(call)['cpus-per-task'] == '24'  # Of two GPUs, 12 each.
    assert options(call)['gpus-per-node'] == '2'
    assert 'requeue' in options(call)
    assert call[-2 - len(SWEEP) :] == [
      f'{machine.launch}/slurm_job.sh',
      str(machine.launch),
      *SWEEP,
    ]
  assert 'finals: job 2' in done.stdout


def test_a_dry_run_prints_these_commands(machine, sbatch):
  shown = machine.start('slurm_sweep.sh', '--dry-run', '2', *SWEEP)
  assert shown.returncode == 0 and not machine.noted('sbatch')
  machine.start('slurm_sweep.sh', '2', *SWEEP)
  numbers = {'afterok:trials': 'afterok:1', 'afterok:finals': 'afterok:2'}
  printed = []
  for line in shown.stdout.splitlines():
    for name, number in numbers.items():
      line = line.replace(name, number)
    printed.append(machine.typed(line))
  assert sorted(printed) == [['sbatch', *c] for c in machine.noted('sbatch')]


def test_so_many_at_once(machine, sbatch, monkeypatch):
  monkeypatch.setenv('AT_ONCE', '4')
  machine.start('slurm_sweep.sh', '1', *SWEEP)
  arrays = {options(call).get('array') for call in machine.noted('sbatch')}
  assert arrays == {'1,2%4', '3,4%4', None}


def test_of_a_sweep_that_is_done_there_is_only_the_table(
  machine, sbatch, listing
):
  text = LIST
  for state in 'busy', 'missing', 'waiting':
    text = text.replace(state, 'done')
  listing(text)
  machine.start('slurm_sweep.sh', '1', *SWEEP)
  (call,) = machine.noted('sbatch')
  assert options(call)['job-name'] == 'table'
  assert 'dependency' not in options(call)


@pytest.mark.parametrize('script', ['slurm_sweep.sh', 'gke_sweep.sh'])
def test_what_can_not_be_listed_is_not_submitted(machine, script):
  machine.note('vit_jax', 'echo "vit_jax: error: no" >&2; exit 2')
  first = ['1'] if script == 'slurm_sweep.sh' else ['n', 'i', '4', 'a=b']
  done = machine.start(script, *first, *SWEEP)
  assert done.returncode == 2 and 'error: no' in done.stderr
  assert not machine.noted('sbatch') and not machine.noted('kubectl')


def test_a_task_of_an_array_makes_the_run_of_its_number(
  machine, listing, monkeypatch
):
  monkeypatch.setenv('SLURM_ARRAY_TASK_ID', '3')
  machine.start('slurm_job.sh', str(machine.launch), *SWEEP)
  assert machine.noted('vit_jax') == [[*SWEEP, '--task=3']]


# GKE --------------------------------------------------------------------------

PLACE = ('rates', 'gcr.io/me/image', '4', 'tpu=v6e,topology=2x2')
# Of batch/v1; see tests/launch/test_gke.py.
SPEC = {
  *('completionMode', 'completions', 'parallelism', 'backoffLimitPerIndex'),
  *('podFailurePolicy', 'template'),
}


@pytest.fixture
def kubectl(machine, listing):
  machine.note(
    'kubectl',
    'case $1 in apply) cat >>"$HOME/applied"; echo --- >>"$HOME/applied" ;;\n'
    '  get) echo "SuccessCriteriaMet Complete" ;; esac',
  )


def jobs(text):
  return [each for each in yaml.safe_load_all(text) if each]


def test_gke_has_a_pod_for_each_run(machine, kubectl):
  done = machine.start('gke_sweep.sh', '--dry-run', *PLACE, *SWEEP)
  assert done.returncode == 0, done.stderr
  assert not machine.noted('kubectl')
  made = jobs(done.stdout)
  assert [job['metadata']['name'] for job in made] == [
    *('rates-choosing', 'rates-final', 'rates-table'),
  ]
  assert [job['spec']['completions'] for job in made] == [3, 2, 1]
  containers = []
  for job in made:
    assert job['kind'] == 'Job' and set(job['spec']) == SPEC
    assert job['spec']['completionMode'] == 'Indexed'
    mistake, _ = job['spec']['podFailurePolicy']['rules']
    assert mistake['onExitCodes']['values'] == [2, 126, 127]
    pod = job['spec']['template']['spec']
    assert pod['nodeSelector'] == {'tpu': 'v6e', 'topology': '2x2'}
    containers += pod['containers']
  assert [each['args'] for each in containers] == [
    [*SWEEP, '--task=choosing:$(TASK)'],
    [*SWEEP, '--task=final:$(TASK)'],
    [*SWEEP],
  ]
  for each in containers:
    assert each['resources'] == {'limits': {'google.com/tpu': 4}}
    assert each['env'][0]['name'] == 'TASK'
    assert 'job-completion-index' in str(each['env'][0]['valueFrom'])


def test_gke_waits_for_one_before_the_next(machine, kubectl, monkeypatch):
  monkeypatch.setenv('NAMESPACE', 'vit')
  monkeypatch.setenv('AT_ONCE', '1')
  dry = machine.start('gke_sweep.sh', '--dry-run', *PLACE, *SWEEP)
  done = machine.start('gke_sweep.sh', *PLACE, *SWEEP)
  assert done.returncode == 0, done.stderr
  applied = jobs((machine.home / 'applied').read_text())
  assert applied == jobs(dry.stdout)
  assert {job['spec']['parallelism'] for job in applied} == {1}
  calls = [call for first, *call in machine._calls() if first == 'kubectl']
  assert [call[0] for call in calls] == [
    *('delete', 'apply', 'get') * 3,
    'logs',
  ]
  assert all('--namespace=vit' in call for call in calls)


def test_a_job_that_fails_ends_it(machine, listing):
  machine.note('kubectl', 'case $1 in apply) cat ;; get) echo Failed ;; esac')
  done = machine.start('gke_sweep.sh', *PLACE, *SWEEP)
  assert done.returncode == 1
  assert 'rates-choosing has failed' in done.stderr
