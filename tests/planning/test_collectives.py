"""What is sent is read from programs whose collectives are known."""

import re

import pytest

from vit_jax.planning import collectives

Traffic = collectives.Traffic

SUM = """
%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}
"""


def program(body, computations='', num_devices=8):
  return f"""HloModule step, is_scheduled=true, num_partitions={num_devices}
{SUM}{computations}
ENTRY %main (x: f32[16,4]) -> f32[16,4] {{
  %x = f32[16,4]{{1,0:T(8,128)S(1)}} parameter(0), sharding={{devices=[8]<=[8]}}
{body}
}}
"""


REDUCE = 'use_global_device_ids=true, to_apply=%sum'


@pytest.mark.parametrize(
  ('line', 'kind', 'num_bytes'),
  [
    # 64 numbers of 4 bytes; 7/8 of them, and for an all-reduce twice.
    (f'f32[16,4]{{1,0}} all-reduce(%x), {REDUCE}', 'all-reduce', 448),
    ('f32[64]{0} all-gather(%x), dimensions={0}', 'all-gather', 224),
    ('bf16[64]{0} all-gather(%x), dimensions={0}', 'all-gather', 112),
    (f'f32[8]{{0}} reduce-scatter(%x), {REDUCE}', 'reduce-scatter', 224),
    ('(f32[32]{0}, f32[32]{0}) all-to-all(%x, %y)', 'all-to-all', 224),
    (
      'pred[64]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}',
      'collective-permute',
      64,
    ),
    (
      '(f32[8]{0}, f32[64]{0}, u32[]) all-gather-start(%x), dimensions={0}',
      'all-gather',
      224,
    ),
    (f'f32[64]{{0}} all-reduce-start(%x), {REDUCE}', 'all-reduce', 448),
  ],
)
def test_a_collective_sends_as_in_a_ring(line, kind, num_bytes):
  text = program(f'  ROOT %y = {line}, channel_id=1')
  assert collectives.traffic(text) == {(kind, 8): Traffic(1, num_bytes)}


@pytest.mark.parametrize(
  ('groups', 'size'),
  [
    ('{{0,1,2,3},{4,5,6,7}}', 4),
    ('[2,4]<=[8]', 4),
    ('[4,2]<=[2,4]T(1,0)', 2),
    ('{}', 8),
    ("mesh['axis_0'=4,'axis_1'=2] {'axis_1'}", 2),
    ("mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'a'}", 4),
    ("mesh['a'=4,'b'=2] {'a','b'}", 8),
    ("mesh['a'=8] {'a':(2)4}", 4),
  ],
)
def test_groups_are_read_in_every_notation(groups, size):
  text = program(
    f'  ROOT %y = f32[64]{{0}} all-gather(%x), channel_id=1, '
    f'replica_groups={groups}, dimensions={{0}}'
  )
  ((kind, found),) = collectives.traffic(text)
  assert (kind, found) == ('all-gather', size)


LOOP = """
%body (p: (s32[], f32[16,4])) -> (s32[], f32[16,4]) {
  %p = (s32[], f32[16,4]{1,0}) parameter(0)
  %w = f32[16,4]{1,0} get-tuple-element(%p), index=1
  %g = f32[16,4]{1,0} all-reduce(%w), channel_id=3, to_apply=%sum
  ROOT %t = (s32[], f32[16,4]{1,0}) tuple(%i, %g)
}

%condition (q: (s32[], f32[16,4])) -> pred[] {
  %q = (s32[], f32[16,4]{1,0}) parameter(0)
  %n = s32[] constant(24)
  %j = s32[] get-tuple-element(%q), index=0
  ROOT %less = pred[] compare(%j, %n), direction=LT
}
"""
WHILE = '  ROOT %w = (s32[]) while(%x), condition=%condition, body=%body'


def test_what_is_in_a_loop_counts_as_often_as_it_runs():
  expected = {('all-reduce', 8): Traffic(24, 24 * 448)}
  assert collectives.traffic(program(WHILE, LOOP)) == expected
  # Where the compiler writes it down, that counts.
  told = WHILE + ', backend_config={"known_trip_count":{"n":"3"}}'
  expected = {('all-reduce', 8): Traffic(3, 3 * 448)}
  assert collectives.traffic(program(told, LOOP)) == expected


def test_loops_in_loops_multiply():
  outer = LOOP.replace('%body', '%outer').replace(
    '%g = f32[16,4]{1,0} all-reduce(%w), channel_id=3, to_apply=%sum',
    '%g = (s32[]) while(%w), condition=%condition, body=%body',
  )
  outer = outer[: outer.index('%condition (q')]
  text = program(WHILE.replace('body=%body', 'body=%outer'), LOOP + outer)
  assert collectives.traffic(text) == {
    ('all-reduce', 8): Traffic(24 * 24, 24 * 24 * 448)
  }


def test_a_loop_of_unknown_length_is_refused():
  endless = LOOP.replace('constant(24)', 'parameter(1)')
  with pytest.raises(ValueError, match='How often w runs is not known'):
    collectives.traffic(program(WHILE, endless))
  downwards = LOOP.replace('direction=LT', 'direction=GT')
  with pytest.raises(ValueError, match='How often w runs is not known'):
    collectives.traffic(program(WHILE, downwards))
  # It may run as it likes where nothing is sent.
  silent = re.sub(r'all-reduce\(.*', 'negate(%w)', endless)
  assert collectives.traffic(program(WHILE, silent)) == {}


FUSED = """
%all-reduce-scatter (input: f32[16,4]) -> f32[2,4] {
  %input = f32[16,4]{1,0} parameter(0)
  %whole = f32[16,4]{1,0} all-reduce(%input), channel_id=5, to_apply=%sum
  ROOT %part = f32[2,4]{1,0} dynamic-slice(%whole, %i, %j)
}
"""
SCATTERED = '  ROOT %y = f32[2,4] fusion(%x), kind=kCustom, calls='


def test_a_sum_of_which_a_part_is_taken_is_a_reduce_scatter():
  expected = {('reduce-scatter', 8): Traffic(1, 224)}
  text = program(SCATTERED + '%all-reduce-scatter', FUSED)
  assert collectives.traffic(text) == expected
  # On CPU, the part is taken later: here in another fusion, converted first.
  convert = '%convert (p: f32[16,4]) -> bf16[16,4] {\n'
  convert += '  %p = f32[16,4]{1,0} parameter(0)\n'
  convert += '  ROOT %c = bf16[16,4]{1,0} convert(%p)\n}\n'
  part = FUSED.replace('all-reduce(%input), channel_id=5', 'copy(%input)')
  body = (
    '  %g = (f32[16,4]{1,0}, f32[]) all-reduce(%x, %n), channel_id=5\n'
    '  %e = f32[16,4]{1,0} get-tuple-element(%g), index=0\n'
    '  %n = f32[] get-tuple-element(%g), index=1\n'
    '  %c = bf16[16,4]{1,0} fusion(%e), kind=kLoop, calls=%convert\n'
  )
  text = program(
    body + SCATTERED.replace('%x', '%c') + '%all-reduce-scatter', convert + part
  )
  assert collectives.traffic(text) == {
    ('reduce-scatter', 8): Traffic(1, 224),
    ('all-reduce', 8): Traffic(1, 7),
  }


def test_a_sum_that_is_used_whole_is_an_all_reduce():
  for computations in (
    FUSED.replace('dynamic-slice(%whole, %i, %j)', 'negate(%whole)'),
    # In part here, and whole there.
    FUSED.replace('  ROOT', '  %used = f32[] reduce(%whole, %i)\n  ROOT'),
  ):
    text = program(SCATTERED + '%all-reduce-scatter', computations)
    assert list(collectives.traffic(text)) == [('all-reduce', 8)]


def test_stages_of_one_collective_count_once():
  stage = '%stage.{0} (p: f32[8]) -> f32[64] {{\n'
  stage += '  %p = f32[8]{{0}} parameter(0)\n'
  stage += '  ROOT %g.{0} = f32[64]{{0}} all-gather(%p), channel_id=7\n}}\n'
  body = '  %a = f32[64]{0} fusion(%x), kind=kCustom, calls=%stage.1\n'
  body += '  ROOT %b = f32[64]{0} fusion(%x), kind=kCustom, calls=%stage.2'
  text = program(body, stage.format(1) + stage.format(2))
  assert collectives.traffic(text) == {('all-gather', 8): Traffic(1, 224)}


INNER = '%{} (p: f32[8]) -> f32[64] {{\n  %p = f32[8]{{0}} parameter(0)\n'
INNER += '  ROOT %g = f32[64]{{0}} all-gather(%p), channel_id={}\n}}\n'


@pytest.mark.parametrize(
  ('line', 'count'),
  [
    ('call(%x), to_apply=%one', 1),
    ('async-start(%x), calls=%one', 1),
    (
      'conditional(%b, %x, %x), true_computation=%one, false_computation=%two',
      2,
    ),
    ('conditional(%i, %x, %x), branch_computations={%one, %two}', 2),
  ],
)
def test_what_is_called_is_looked_into(line, count):
  text = program(
    f'  ROOT %y = f32[64]{{0}} {line}',
    INNER.format('one', 1) + INNER.format('two', 2),
  )
  assert collectives.traffic(text) == {
    ('all-gather', 8): Traffic(count, count * 224)
  }


def test_replicas_are_devices_too():
  text = program('  ROOT %y = f32[64]{0} all-gather(%x), dimensions={0}')
  text = text.replace('num_partitions=8', 'num_replicas=2, num_partitions=8')
  assert list(collectives.traffic(text)) == [('all-gather', 16)]


def test_one_device_sends_nothing():
  assert collectives.traffic(program('  ROOT %y = f32[] add(%x, %x)')) == {}
