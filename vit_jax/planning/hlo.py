"""A parser for the text of a compiled program (HLO), as far as planning needs.

Its grammar is that of XLA's HLO parser; see openxla.org/xla/hlo_dumps.
"""

import math
import re
from typing import NamedTuple


class Instruction(NamedTuple):
  """A line such as `%name = shape opcode(operands), attributes`."""

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str
  is_root: bool


class Program(NamedTuple):
  """What each of `num_devices` devices runs, from the computation `entry` on.

  Attributes:
    computations: {name: {name: Instruction}}, in the order of execution.
    entry: name of the first computation.
    num_devices: that run the program together.
  """

  computations: dict[str, dict[str, Instruction]]
  entry: str
  num_devices: int


_HEADER = re.compile(r'(ENTRY )?%?([\w.-]+) \(.*\{$')
# Layouts hold parentheses too, but never after a space.
_LINE = re.compile(r'\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)')
_ARRAY = re.compile(r'\b(pred|[a-z]+(\d+)\w*)\[([\d,<= ]*)\]')
_MESH = re.compile(r'mesh\[(.*?)\](?:, device_ids=\(.*?\))? \{(.*?)\}')


def parse(text):
  """Returns the `Program` of what `jax.stages.Compiled.as_text` returns."""
  computations, entry, current = {}, None, None
  for line in text.splitlines():
    header = _HEADER.match(line)
    if header:
      current = computations[header[2]] = {}
      entry = header[2] if header[1] else entry
      continue
    match = _LINE.match(line) if current is not None else None
    if match:
      root, name, shape, opcode, rest = match.groups()
      operands, attributes = _split(rest)
      current[name] = Instruction(
        name, shape, opcode, operands, attributes, bool(root)
      )
  counts = re.findall(r'num_(?:partitions|replicas)=(\d+)', text[:10_000])
  return Program(computations, entry, math.prod(map(int, counts)))


def _split(rest):
  """Splits 'a, %b), key=value' into ('a', 'b') and the attributes."""
  depth, end = 1, -1
  while depth:
    end += 1
    depth += (rest[end] == '(') - (rest[end] == ')')
  names = re.findall(r'%([\w.-]+)', rest[:end])
  return tuple(names or rest[:end].split(', ')), rest[end + 1 :]


def array_bytes(shape):
  """Returns the bytes of each array of a shape, which may be a tuple."""
  return [
    math.prod(int(size.strip('<= ')) for size in sizes.split(',') if size)
    * max(1, int(bits or 8) // 8)  # A boolean takes a byte.
    for _, bits, sizes in _ARRAY.findall(shape)
  ]


def called(instruction, *keys):
  """Returns the names of computations that attributes `keys` point to."""
  found = []
  for key in keys:
    match = re.search(rf'\b{key}=(\{{.*?\}}|%?[\w.-]+)', instruction.attributes)
    if match:
      found += re.findall(r'[\w.-]+', match[1])
  return found


def trip_count(program, loop):
  """Returns how often a `while` runs its body; None: unknown.

  Some compilers annotate it. Otherwise it is the bound of a counter that starts
  at zero, as in `jax.lax.scan`: the only constant in the condition.
  """
  written = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
  if written:
    return int(written[1])
  (condition,) = called(loop, 'condition')
  lines = program.computations[condition].values()
  bounds = [
    line.operands[0]
    for line in lines
    if line.opcode == 'constant' and line.shape.startswith('s32[]')
  ]
  is_below = any('direction=LT' in line.attributes for line in lines)
  return int(bounds[0]) if len(bounds) == 1 and is_below else None


def group_size(collective, num_devices):
  """Returns how many devices take part together in a collective.

  The groups are written as lists, {{0,1},{2,3}}; as an iota, [2,2]<=[4], whose
  rows are groups; or as axes of a mesh. No groups: all devices.
  """
  groups = collective.attributes.partition('replica_groups=')[2]
  mesh = _MESH.match(groups)
  if mesh:
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
    axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])
    return math.prod(int(part or sizes[axis]) for axis, part in axes)
  iota = re.match(r'\[\d+,(\d+)\]', groups)
  if iota:
    return int(iota[1])
  first = re.match(r'\{\{([\d,]+)\}', groups)
  return len(first[1].split(',')) if first else num_devices
