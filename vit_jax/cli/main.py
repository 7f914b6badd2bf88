"""The command line: `vit_jax COMMAND --flag=value ...`.

It dispatches; the commands are in `commands`, their arguments in `parsing`,
their help in `reference`.
"""

import sys

import vit_jax
from vit_jax import errors
from vit_jax.cli import commands, output, parsing, reference


def main(argv=None):
  """Runs one command and returns its exit status; see docs/faults.md.

  0: done; 1: `verify` has found corruption, `plan` that the run does not fit,
  `reproduce` lacks a number, `predict`, `analyze` or `explore` could not read
  an image, a task of a `sweep` has to wait for others; 2: a mistake of the
  user; 70: no progress, or other processes did not join (`watchdog`,
  `distributed`); 75: stopped by a signal, and saved (`preemption`); 141: nobody
  reads what is printed, as behind `| head`.

  Args:
    argv: the arguments after the program's name; None: those of this process.
  """
  argv = sys.argv[1:] if argv is None else list(argv)
  try:
    return _run(argv)
  except errors.UserError as error:
    print(errors.text(error), file=sys.stderr)
    return 2
  except BrokenPipeError:
    return output.give_up()
  except OSError as error:
    if '://' not in str(error.filename):
      raise
    reason = error.strerror or error
    problem = f'{error.filename} can not be read or written: {reason}.'
    print(errors.text(errors.UserError(problem)), file=sys.stderr)
    return 2


def _run(argv):
  """Runs the command that the arguments name; returns its exit status."""
  if not argv or argv[0] in ('-h', '--help'):
    print(reference.overview())
    return 0 if argv else 2
  if argv[0] == '--version':
    print(f'vit_jax {vit_jax.__version__}')
    return 0
  name, *rest = argv
  if name in commands.RENAMED:
    present = commands.RENAMED[name]
    raise errors.UserError(
      f'{name} is now called {present}: vit_jax {present}.'
    )
  if name not in commands.COMMANDS:
    known = errors.nearest(name, commands.COMMANDS, 'vit_jax --help')
    raise errors.UserError(f'{name!r} is not a command. {known}')
  if parsing.asks_for_help(rest):
    print(reference.help(name))
    return 0
  status = commands.COMMANDS[name].run(parsing.parse(name, rest)) or 0
  sys.stdout.flush()  # Here, a pipe that nobody reads is noticed.
  return status
