"""A few of the files of `make fuzz`: always the same ones."""

import collections

import mutants
import pytest
import readers
import samples

COUNT = 500


def test_changed_files_end_in_a_line(child):
  results = list(child.mutants(seed=0, count=COUNT))
  problems = [line for line in results if line['problem']]
  assert not problems, problems[0]
  outcomes = collections.Counter(line['outcome'] for line in results)
  assert outcomes['refused'] > COUNT / 3 and outcomes['read'] > COUNT / 20
  assert {line['reader'] for line in results} == set(readers.READERS)


@pytest.mark.parametrize('reader', ['run config', 'npz', 'CSV', 'image png'])
def test_a_mutant_is_known_by_seed_and_number(tmp_path, reader):
  grammar = readers.READERS[reader].grammar
  data = readers.READERS[reader].sample(tmp_path).read_bytes()
  made = [
    mutants.mutate(data, grammar, mutants.generator(seed=3, number=number))
    for number in (*range(40), *range(40))
  ]
  assert made[:40] == made[40:]
  assert len(set(made)) > 30


def test_the_grammar_of_zip_is_kept(tmp_path):
  """Else all mutants would end at the first check."""
  data = samples.weights_npz(tmp_path).read_bytes()
  kept = 0
  for number in range(60):
    made = mutants._zip(data, mutants.generator(0, number))
    kept += made.startswith(b'PK') and made != data
  assert kept > 50
