"""Slurm: what is requeued, and the CPUs of a task."""

import pytest


@pytest.mark.parametrize(
  ('status', 'again'),
  [('75', 1), ('134', 1), ('2', 0), ('0', 0), ('126', 0), ('127', 0)],
)
def test_slurm_queues_again_what_may_go_on(machine, status, again):
  machine.ends(status)
  assert machine.start('slurm.sh', '2', '8', *machine.train).returncode == int(
    status
  )
  assert machine.noted('scontrol') == [['requeue', '7']] * again


def test_slurm_ends_after_so_many_starts(machine, monkeypatch):
  monkeypatch.setenv('SLURM_RESTART_COUNT', '100')
  machine.ends(75)
  assert machine.start('slurm.sh', '2', '8', *machine.train).returncode == 75
  assert machine.noted('scontrol') == []


def test_slurm_asks_which_task_failed_first(machine, monkeypatch):
  """The others are killed, and srun returns the largest status of all."""
  monkeypatch.setenv('SRUN_STATUS', '137')
  machine.ends(2, 134)
  done = machine.start('slurm.sh', '2', '8', *machine.train)
  assert done.returncode == 137 and machine.noted('scontrol') == []
  named = 'srun: error: node7: task 9: Exited with exit code 2'
  assert f'not requeued: {named}' in done.stderr
  machine.start('slurm.sh', '2', '8', *machine.train)
  assert machine.noted('scontrol') == [['requeue', '7']]


@pytest.mark.parametrize(
  ('sinfo', 'variables', 'cpus'),
  [
    (None, {}, '12'),
    (None, {'CPUS_PER_TASK': '5'}, '5'),
    ('a 64 gpu:4,nvme:2\n', {'SBATCH_PARTITION': 'a'}, '16'),
    ('a 64 gpu:a100:16(S:0)\n', {'SBATCH_PARTITION': 'a'}, '4'),
    ('a* 64 (null)\n', {}, '8'),  # A share of the GPUs asked for.
  ],
)
def test_slurm_gives_a_task_the_cpus_of_its_gpu(
  machine, monkeypatch, sinfo, variables, cpus
):
  if sinfo is not None:
    (machine.home / 'sinfo').write_text(sinfo)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  done = machine.start('slurm.sh', '--dry-run', '2', '8', *machine.train)
  assert f'--cpus-per-task={cpus}' in machine.typed(done.stdout)


@pytest.mark.parametrize('sinfo', ['', 'b 64 gpu:8\n', 'b* many (null)\n'])
def test_where_sinfo_does_not_tell_one_must(machine, sinfo):
  (machine.home / 'sinfo').write_text(sinfo)
  done = machine.start('slurm.sh', '2', '8', *machine.train)
  assert done.returncode == 2 and 'set CPUS_PER_TASK' in done.stderr
  assert machine.noted('sbatch') == []


def test_a_job_without_arguments_says_what_it_is(machine):
  done = machine.start('slurm_job.sh', str(machine.launch))
  assert (
    done.returncode == 2 and 'sbatch ... launch/slurm_job.sh' in done.stderr
  )
  assert not machine.has_started()


def test_tasks_have_the_cpus_of_the_job(machine):
  machine.start('slurm.sh', '2', '8', *machine.train)
  (call,) = machine.noted('srun')
  options, started = (
    call[: -2 - len(machine.train)],
    call[-2 - len(machine.train) :],
  )
  assert {'--cpus-per-task=12', '--label', '--kill-on-bad-exit=1'} <= {*options}
  assert started == [
    f'{machine.launch}/keep_going.sh',
    'vit_jax',
    *machine.train,
  ]
