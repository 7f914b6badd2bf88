"""Several machines by ssh: one that fails is named, and all end together."""

import signal
import subprocess

SAVES = (
  'trap \'echo saved >>"$HOME/saved"; kill %1; exit 75\' TERM\n'
  'case "$*" in *--process_id=1*)\n'
  '  until [[ -e $HOME/up ]]; do sleep 0.01; done; exit 2 ;;\n'
  'esac\necho >>"$HOME/up"; sleep 600 & wait'
)


def test_a_machine_that_fails_is_named_and_the_others_are_ended(machine):
  machine.script('bin/vit_jax', SAVES)
  done = machine.start('gpu_node.sh', 'one', 'two', '--', *machine.train)
  assert done.returncode == 2
  assert 'two (process 1) has ended with 2; ending the others' in done.stderr
  assert (machine.home / 'saved').read_text() == 'saved\n'


def test_a_signal_ends_all_machines(machine, wait_until):
  machine.script('bin/vit_jax', SAVES.replace('exit 2', 'true'))
  (machine.home / 'up').touch()
  command = [
    'bash',
    machine.launch / 'gpu_node.sh',
    'one',
    'two',
    '--',
    *machine.train,
  ]
  with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
    wait_until(lambda: (machine.home / 'up').read_text().count('\n') == 2)
    running.send_signal(signal.SIGTERM)
    assert running.wait(120) == 130
  wait_until(lambda: (machine.home / 'saved').read_text() == 'saved\n' * 2)
